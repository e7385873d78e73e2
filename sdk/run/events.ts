import type { SerializedError } from '../errors'

/** Events of a run, as they stand in metrics.jsonl (one JSON object a line) and reach the front. Times in ms since epoch. */
export type RunEvent =
  | PreparedEvent | StartedEvent | StepEvent | EvalEvent | SampleEvent | SavedEvent | WarningEvent | CommandEvent | DoneEvent | FailedEvent

interface Base { readonly time: number }

/** An event that begins or ends a run; `run` is the run's id, the same for every handle of it (logs from before lack it). */
interface Turn extends Base { readonly run?: string }

/** Events that tell where a run stands. */
export type TurnEvent = PreparedEvent | StartedEvent | DoneEvent | FailedEvent

/** The data stands tokenised. */
export interface PreparedEvent extends Turn {
  readonly type: 'prepared'
  readonly split: 'train' | 'dev'
  readonly rows: number
  readonly tokens: number
  readonly supervised: number
  /** Rows whose source or target was cut. */
  readonly truncated: number
  /** One rendered and tokenised row, so that a doubled BOS or a missing EOS shows before training. */
  readonly preview: { readonly text: string; readonly ids: readonly number[]; readonly labels: readonly number[]; readonly tokens: readonly string[] }
}

/** The model is loaded; the first step follows. One more stands in the log after each resume. */
export interface StartedEvent extends Turn {
  readonly type: 'started'
  /** Process id of the worker. */
  readonly pid: number
  /** Host name of the worker: on another host the pid says nothing about it. */
  readonly host?: string
  /** The model's name as the plan gives it. */
  readonly model: string
  /** Values in the model, an adapter's included. */
  readonly parameters: number
  /** Values that train. */
  readonly trainable: number
  /** Optimizer steps of the whole run, those before a resume included. */
  readonly totalSteps: number
  /** Epochs of the whole run, as a fraction; 0 without training. */
  readonly epochs: number
  /** First step that will run, counted from 0: above 0 after a resume. */
  readonly startStep: number
  /** `cpu` or `cuda:N`. */
  readonly device: string
  readonly blocks: 'fused' | 'plain'
  /** CPU threads. */
  readonly threads: number
}

/** One optimizer step. */
export interface StepEvent extends Base {
  readonly type: 'step'
  /** Optimizer steps done, from 1. */
  readonly step: number
  readonly totalSteps: number
  /** Epochs done, as a fraction. */
  readonly epoch: number
  /** Mean over the supervised tokens of the step's window. */
  readonly loss: number
  /** The rate that this step was made with. */
  readonly learningRate: number
  /** 2-norm over all gradients, before clipping. */
  readonly gradNorm: number
  /** All tokens of the step, without padding. */
  readonly tokens: number
  /** Tokens with a label, over which the loss is the mean. */
  readonly supervised: number
  /** Duration of the step in ms. */
  readonly ms: number
  readonly tokensPerSecond: number
  /** Resident memory of the worker, MiB. */
  readonly memory: number
  /** Minor page faults in this step. */
  readonly faults: number
  /** Share of the worker's CPU threads that worked in this step, 0 to 1; 0 in logs from before it was measured. */
  readonly utilisation: number
}

/** An evaluation on the dev rows. */
export interface EvalEvent extends Base {
  readonly type: 'eval'
  /** Optimizer steps done. */
  readonly atStep: number
  /** Mean over the supervised tokens of all dev rows, in nats. */
  readonly loss: number
  /** e to the power of the loss. */
  readonly perplexity: number
  /** Share of supervised positions whose argmax is the label. */
  readonly accuracy: number
  readonly rows: number
  /** Duration in ms. */
  readonly ms: number
}

/** Answers of the model as it is, with what the data answers where that is known. */
export interface SampleEvent extends Base {
  readonly type: 'sample'
  /** Optimizer steps done. */
  readonly atStep: number
  readonly samples: readonly { readonly prompt: string; readonly answer: string; readonly reference: string | null }[]
}

/** A checkpoint of `atStep` steps stands complete in the folder `path`; `final`: the trained weights, in the output folder itself. */
export interface SavedEvent extends Base { readonly type: 'saved'; readonly atStep: number; readonly path: string; readonly final: boolean }

/** Something odd that does not end the run. `code` is stable, such as `checkpoint.plan`; of one kind only the first few come. */
export interface WarningEvent extends Base { readonly type: 'warning'; readonly code: string; readonly message: string }

/** A command from the front (stop, pause, resume, save, sample, evaluate, set, …) was taken. `set` brings what was set. */
export interface CommandEvent extends Base { readonly type: 'command'; readonly command: string; readonly atStep: number; readonly learningRate?: number }

/** The run ended well after `atStep` optimizer steps; `stopped`: before its last, by a stop. `output` is an absolute path, `ms` the duration. */
export interface DoneEvent extends Turn { readonly type: 'done'; readonly atStep: number; readonly stopped: boolean; readonly output: string; readonly ms: number }

/** The run ended by an error, from the worker or, when that died, from the front. */
export interface FailedEvent extends Turn { readonly type: 'failed'; readonly error: SerializedError }

/**
 * Optimizer steps done when the event was told; `null` where it belongs to none. Only `step` events have a field `step`, so
 * that a line of metrics.jsonl with `step` is one step; the others say `atStep`.
 */
export function stepOf(event: RunEvent): number | null {
  if (event.type === 'step') return event.step
  return 'atStep' in event ? event.atStep : null
}
