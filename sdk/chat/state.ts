/** A chat as a page shows it: plain JSON, no part of it markup. */
export interface ChatState {
  readonly version: 1
  readonly chat: string
  /** Model or run, in words. */
  readonly title: string
  /** Who answers: the tuned model alone, or beside the model as it came. */
  readonly sides: readonly { readonly side: ChatSide; readonly label: string }[]
  readonly turns: readonly ChatTurnState[]
  /** `loading`: the model is being read; `closed`: nobody answers any more. */
  readonly status: 'loading' | 'ready' | 'answering' | 'closed'
  /** Why it is closed or the last turn failed. */
  readonly error: string | null
}

export type ChatSide = 'base' | 'tuned'

export interface ChatTurnState {
  readonly text: string
  /** One a side, in the order of `sides`; `done` once the last piece came. */
  readonly answers: readonly { readonly side: ChatSide; readonly text: string; readonly done: boolean; readonly tokensPerSecond: number | null }[]
}
