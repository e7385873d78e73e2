import type { SerializedError } from '../errors'
import type { ChatSide } from '../chat/state'
import type { Meeting } from '../parallel/meet'
import type { GenerationPlan, Plan } from '../plan/plan'
import type { ServePlan } from '../chat/serve-plan'
import type { ProfileData } from '../profile/types'
import type { ChatMessage } from '../tokenizers'
import type { EvalEvent, RunEvent, SampleEvent } from './events'

/**
 * Messages front → worker, over the child's IPC pipe or, one JSON object a line, over the run's control socket. Each command
 * gets one `reply` with its id; ids count for each front by itself.
 */
export type ToWorker =
  /** `run`: the run's id; `detached`: it outlives its front; `meeting`: where it meets ranks that a launcher started. Over the pipe alone. */
  | { readonly kind: 'start'; readonly plan: Plan; readonly run?: string; readonly detached?: boolean; readonly meeting?: Meeting }
  /** First line over the control socket; a worker that knows the token answers `ready`. */
  | { readonly kind: 'hello'; readonly token: string }
  /** Instead of a run: answers `chat` with a model, until `close`. It answers `served`, or a `failed` event. */
  | { readonly kind: 'serve'; readonly serve: ServePlan }
  | { readonly kind: 'command'; readonly id: number; readonly command: Command }

export type Command =
  /** Ends training after the step that runs, with a checkpoint; a `done` event with `stopped: true` follows. */
  | { readonly name: 'stop' }
  /** Training waits between two steps until `resume`, `stop` or `close`; other commands are answered meanwhile. */
  | { readonly name: 'pause' }
  | { readonly name: 'resume' }
  | { readonly name: 'save' }
  | { readonly name: 'evaluate' }
  /** Answers the plan's sample prompts now, as a `sample` event. */
  | { readonly name: 'sample' }
  /** From the next step on: `learningRate` takes the place of the plan's, under the same schedule. A number from 0 on. */
  | { readonly name: 'set'; readonly learningRate: number }
  /** Records `steps` steps behind the `skip` next ones, and answers when they are done. */
  | { readonly name: 'profile'; readonly steps: number; readonly skip: number }
  /** Runs between two steps, or after the last one, on the live weights. Tokens stream as `token` messages. */
  | { readonly name: 'generate'; readonly prompts: readonly string[]; readonly generation: GenerationPlan; readonly chat: boolean }
  /** One answer in a conversation, by the weights as they are, or by the model as it came (adapter off). Tokens stream with row 0. */
  | { readonly name: 'chat'; readonly messages: readonly ChatMessage[]; readonly generation: GenerationPlan; readonly side: ChatSide }
  /** Ends the generation that command `of` asked for; it answers with what it has. */
  | { readonly name: 'cancel'; readonly of: number }
  /** Ends the worker after training is done (it stays to answer `generate`). */
  | { readonly name: 'close' }

/** One answer in a conversation. */
export interface ChatReply {
  readonly text: string
  readonly tokens: number
  /** From the prompt to the last token. */
  readonly ms: number
  /** `stop`: the answer came to its end; `length`: maxNewTokens or the end of the context; `cancel`: it was asked to end. */
  readonly end: 'stop' | 'length' | 'cancel'
  /** Oldest rounds (question and answer) that found no room in the model's context. */
  readonly dropped: number
  /** The question itself found no room and lost its beginning. */
  readonly cut: boolean
}

/** What a command's reply carries as `value`. */
export interface Replies {
  /** The checkpoint that stop left, when it made one. */
  readonly stop: { readonly path: string | null }
  readonly save: { readonly path: string }
  readonly pause: undefined
  readonly resume: undefined
  readonly evaluate: EvalEvent
  readonly sample: SampleEvent
  readonly set: undefined
  /** What was recorded, and the worker's files of it: absolute paths. */
  readonly profile: { readonly data: ProfileData; readonly file: string; readonly trace: string }
  readonly chat: ChatReply
  readonly cancel: undefined
  /** The whole answers, one a prompt. */
  readonly generate: { readonly texts: readonly string[] }
  readonly close: undefined
}

/** Messages worker → front. */
export type FromWorker =
  /** Sent once to each front, as soon as the worker listens to it: over the pipe before the data is prepared or the model is read. */
  | { readonly kind: 'ready' }
  /** How far a long step before training is (download, preparing, reading weights). Shown, never stored. */
  | { readonly kind: 'progress'; readonly stage: string; readonly done: number; readonly total: number | null }
  /** The model of a `serve` is read and answers. */
  | { readonly kind: 'served' }
  | { readonly kind: 'event'; readonly event: RunEvent }
  | { readonly kind: 'token'; readonly id: number; readonly row: number; readonly text: string }
  | { readonly kind: 'reply'; readonly id: number; readonly value?: unknown; readonly error?: SerializedError }
