import { callHook, chatHook } from '../views/show'
import { Chat } from './chat'
import type { ChatOptions } from './options'
import { partyOf, type ChatTarget } from './target'

export { Chat, type AskOptions, type ChatPiece } from './chat'
export type { ChatAnswer } from './answer'
export type { ChatOptions } from './options'
export type { ChatProgress } from './served-voice'
export type { ChatSide, ChatState, ChatTurnState } from './state'
export type { ChatTarget } from './target'
export { chatHook } from '../views/show'

/**
 * A conversation with a model, side by side with the untouched one where there is one:
 *
 * - `chat('builtin:smollm2-135m')`, a folder, a `.gguf` file or a hub name: the model as it came (side `base`);
 * - `chat('output/my-adapter')`, a LoRA adapter's folder: with the adapter (`tuned`) and without it (`base`);
 * - `chat('output/my-run')`, a run's folder: its final weights, else its newest checkpoint;
 * - `chat(run)`: the live weights, between two steps while it trains and after it.
 *
 * Resolves when the model is read. In a notebook a box appears under the cell; elsewhere use `ask`:
 *
 * ```ts
 * const c = await chat(run)
 * const { base, tuned } = await c.ask('Type: dress. Colour: blue.')
 * await c.close()
 * ```
 *
 * @throws PlanError for options and sides that do not fit; ModelError when there is no such model; EnvironmentError
 * `chat.memory` when memory does not suffice; WorkerError when the worker is lost
 */
export async function chat(target: ChatTarget, options: ChatOptions = {}): Promise<Chat> {
  const made = new Chat(partyOf(target, options))
  callHook(chatHook, made)
  await made.open()
  return made
}
