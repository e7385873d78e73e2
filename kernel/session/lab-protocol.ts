import type { ChatState } from 'fettle/dist/chat/state'
import type { BoardCommand, BoardData, BoardSamples, BoardState } from 'fettle/dist/views/state'

/** Target name of the comm that the lab extension opens, one for each page and kernel. */
export const commTarget = 'fettle'

/** Messages page → kernel, as the `data` of the comm. Opening it asks for all that lives. */
export type FromPage =
  | { readonly type: 'command'; readonly id: number; readonly run: string; readonly command: BoardCommand }
  | { readonly type: 'ask'; readonly chat: string; readonly text: string }
  | { readonly type: 'cancel' | 'clear'; readonly chat: string }

/** Messages kernel → page. */
export type ToPage =
  /** Answers the opening: runs and chats of this kernel, with the cells (their ids) that they stand under. */
  | { readonly type: 'live'; readonly boards: readonly LiveBoard[]; readonly chats: readonly LiveChat[] }
  | { readonly type: 'board'; readonly run: string; readonly state: BoardState }
  | { readonly type: 'samples'; readonly run: string; readonly samples: BoardSamples }
  | { readonly type: 'chat'; readonly chat: string; readonly state: ChatState }
  /** What the notebook shall keep of a run or chat (a MIME bundle), at its end: the page puts it into the output. */
  | { readonly type: 'keep'; readonly of: string; readonly data: Readonly<Record<string, unknown>> }
  | { readonly type: 'reply'; readonly id: number; readonly text: string }
  | { readonly type: 'reply'; readonly id: number; readonly error: string }

export interface LiveBoard { readonly run: string; readonly cell: string | null; readonly data: BoardData }
export interface LiveChat { readonly chat: string; readonly cell: string | null; readonly state: ChatState }
