import type { FettleError } from '../errors'
import type { ChatReply, Command } from '../run/protocol'

/** What a side of a chat asks its worker. */
export type Question = Omit<Extract<Command, { name: 'chat' }>, 'name'>

/** Who answers: a worker with weights. One voice may speak for both sides. */
export interface Voice {
  /** False once nobody will answer any more. */
  readonly alive: boolean
  /** Rejects, with the typed error, when the worker fails before it can answer. */
  open(): Promise<void>
  /** `signal` ends the answer, which then is what there is. */
  ask(question: Question, onText: (text: string) => void, signal: AbortSignal): Promise<ChatReply>
  /** Calls when the worker is lost after it could answer. */
  onLost(listener: (error: FettleError) => void): void
  /** Frees what the chat itself started; a run goes on. */
  close(): Promise<void>
}
