import type { ChatState } from 'fettle/dist/chat/state'
import type { BoardCommand, BoardData, BoardSamples, BoardState } from 'fettle/dist/views/state'

/** Target name of the comm that the lab extension opens. */
export const commTarget = 'fettle'

/** Every page opens its comm under this id: what the kernel pushes goes to all clients anyway, so one message serves all
 * pages, and a page that was closed leaves nothing behind. */
export const commId = 'fettle-lab'

/** A page that shows something live says so at least this often (ms). */
export const aliveMs = 25_000

/** Messages page → kernel, as the `data` of the comm. Opening it asks for all that lives. */
export type FromPage =
  /** The page is (again) there and asks for all that lives. */
  | { readonly type: 'hello' }
  /** The page still shows what lives. */
  | { readonly type: 'alive' }
  /** `id` is unique among all pages. */
  | { readonly type: 'command'; readonly id: string; readonly run: string; readonly command: BoardCommand }
  | { readonly type: 'ask'; readonly chat: string; readonly text: string }
  | { readonly type: 'cancel' | 'clear'; readonly chat: string }
  /** Asks for what the notebook shall keep of a run or chat: its output does not hold the end. */
  | { readonly type: 'keep'; readonly of: string }

/** Messages kernel → page. */
export type ToPage =
  /** Answers the opening: runs and chats of this kernel, with the cells (their ids) that they stand under. */
  | { readonly type: 'live'; readonly boards: readonly LiveBoard[]; readonly chats: readonly LiveChat[] }
  | { readonly type: 'board'; readonly run: string; readonly state: BoardState }
  | { readonly type: 'samples'; readonly run: string; readonly samples: BoardSamples }
  | { readonly type: 'chat'; readonly chat: string; readonly state: ChatState }
  /** What the notebook shall keep (a MIME bundle); a page that asked for it puts it into the output. */
  | { readonly type: 'keep'; readonly of: string; readonly data: Readonly<Record<string, unknown>> }
  | { readonly type: 'reply'; readonly id: string; readonly text: string }
  | { readonly type: 'reply'; readonly id: string; readonly error: string }

/** `cell`: id of the cell that it stands under; `null` where the client tells no ids, or the cell was run again. */
export interface LiveBoard { readonly run: string; readonly cell: string | null; readonly data: BoardData }
export interface LiveChat { readonly chat: string; readonly cell: string | null; readonly state: ChatState }
