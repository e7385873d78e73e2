import type { SerializedError } from '../../errors'
import type { Plan } from '../../plan/plan'
import type { FromWorker, ToWorker } from '../protocol'
import type { Verdict } from '../read-log'

/** What ranks are started for, and where. */
export interface StartOrder {
  readonly kind: 'start'
  /** An argument file's content. */
  readonly arguments: Readonly<Record<string, unknown>>
  /** As `fettle launch --hosts` takes them; the first is the one that gets this order. */
  readonly hosts: string
  /** As `fettle launch` takes them. */
  readonly program?: string
  readonly master?: string
  readonly port?: number
  /** ms until the first rank must be up. */
  readonly timeout: number
  /** They go down ssh's own connection and into the ranks' environment; no file and no command line has them. */
  readonly tokens: { readonly huggingface?: string; readonly aistudio?: string }
}

/** Messages to `fettle relay`, one JSON object a line of its input: a run's commands and, first where it was asked with `--start`, an order. */
export type ToRelay = StartOrder | Extract<ToWorker, { kind: 'command' }>

/** Messages from `fettle relay`, one JSON object a line of its output. */
export type FromRelay =
  /** The first one. */
  | { readonly kind: 'relay'; readonly version: number }
  /** There is no such run, or it cannot be started. Nothing follows. */
  | { readonly kind: 'refused'; readonly error: SerializedError }
  /** The run's events, from the first one on, its progress, and the answers to commands. */
  | Extract<FromWorker, { kind: 'event' | 'progress' | 'token' | 'reply' }>
  | RelayStatus

/** Where the run stands: told behind the events that were there at first, and when it changes. */
export interface RelayStatus {
  readonly kind: 'status'
  /** Absolute path of the output folder. */
  readonly dir: string
  readonly id: string
  readonly state: Verdict
  readonly alive: boolean
  readonly plan: Plan | null
  /** Why it failed or crashed, where it did. */
  readonly failure: SerializedError | null
  /** Why no worker can be asked, where there is no plan. */
  readonly unreachable: SerializedError | null
}

/** Of these messages. */
export const version = 1

/** What the first line begins with: a greeting of the far end's shell may stand before it. */
export const firstWords = '{"kind":"relay"'
