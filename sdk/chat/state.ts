/** A chat as a page shows it: plain JSON, no part of it markup. */
export interface ChatState {
  /** Version of this layout. */
  readonly version: 1
  /** Id of the chat. */
  readonly chat: string
  /** Model or run, in words. */
  readonly title: string
  /** Who answers: the tuned model alone, or beside the model as it came. */
  readonly sides: readonly { readonly side: ChatSide; readonly label: string }[]
  /** Newest last: at most 40, and at most 16,000 characters of them; the newest in any case. */
  readonly turns: readonly ChatTurnState[]
  /** Older turns that are not shown. */
  readonly more?: number
  /** `loading`: the model is being read; `closed`: nobody answers any more. */
  readonly status: 'loading' | 'ready' | 'answering' | 'closed'
  /** Why it is closed or the last turn failed. */
  readonly error: string | null
}

/** Turns that a state has at most. */
export const shownTurns = 40
/** Characters that a text of a state has at most; the conversation itself keeps them all. */
export const shownCharacters = 6000
/** Characters of all turns of a state together: a page gets one twice a second while an answer grows. */
export const stateCharacters = 16_000

/** The model as it came, or the tuned one. */
export type ChatSide = 'base' | 'tuned'

/** One question and its answers. */
export interface ChatTurnState {
  /** The question. */
  readonly text: string
  /** One a side, in the order of `sides`; `done` once the last piece came. */
  readonly answers: readonly { readonly side: ChatSide; readonly text: string; readonly done: boolean; readonly tokensPerSecond: number | null }[]
  /** What happened beside the answers: older turns that were left out, an answer that was ended early. */
  readonly notes?: readonly string[]
}
