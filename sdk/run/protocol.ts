import type { SerializedError } from '../errors'
import type { GenerationPlan, Plan } from '../plan/plan'
import type { RunEvent } from './events'

/** Messages front → worker over the child's IPC pipe. Each command gets one `reply` with its id. */
export type ToWorker =
  | { readonly kind: 'start'; readonly plan: Plan }
  | { readonly kind: 'command'; readonly id: number; readonly command: Command }

export type Command =
  | { readonly name: 'stop' }
  | { readonly name: 'save' }
  | { readonly name: 'evaluate' }
  /** Runs between two steps, or after the last one, on the live weights. Tokens stream as `token` messages. */
  | { readonly name: 'generate'; readonly prompts: readonly string[]; readonly generation: GenerationPlan; readonly chat: boolean }
  /** Ends the worker after training is done (it stays to answer `generate`). */
  | { readonly name: 'close' }

/** Messages worker → front. */
export type FromWorker =
  | { readonly kind: 'event'; readonly event: RunEvent }
  | { readonly kind: 'token'; readonly id: number; readonly row: number; readonly text: string }
  | { readonly kind: 'reply'; readonly id: number; readonly value?: unknown; readonly error?: SerializedError }
