import type { SerializedError } from '../errors'

/** Events of a run, as they stand in metrics.jsonl (one JSON object a line) and reach the front. Times in ms since epoch. */
export type RunEvent =
  | PreparedEvent | StartedEvent | StepEvent | EvalEvent | SampleEvent | SavedEvent | WarningEvent | CommandEvent | DoneEvent | FailedEvent

interface Base { readonly time: number }

/** The data stands tokenised. */
export interface PreparedEvent extends Base {
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
export interface StartedEvent extends Base {
  readonly type: 'started'
  readonly pid: number
  /** Host name of the worker: on another host the pid says nothing about it. */
  readonly host?: string
  readonly model: string
  readonly parameters: number
  readonly trainable: number
  readonly totalSteps: number
  readonly epochs: number
  /** First step that will run, counted from 0: above 0 after a resume. */
  readonly startStep: number
  readonly device: string
  readonly blocks: 'fused' | 'plain'
  readonly threads: number
}
export interface StepEvent extends Base {
  readonly type: 'step'
  /** Optimizer steps done, from 1. */
  readonly step: number
  readonly totalSteps: number
  /** Epochs done, as a fraction. */
  readonly epoch: number
  /** Mean over the supervised tokens of the step's window. */
  readonly loss: number
  readonly learningRate: number
  /** Before clipping. */
  readonly gradNorm: number
  /** All tokens of the step, without padding. */
  readonly tokens: number
  readonly supervised: number
  /** Duration of the step in ms. */
  readonly ms: number
  readonly tokensPerSecond: number
  /** Resident memory of the worker, MiB. */
  readonly memory: number
  /** Minor page faults in this step. */
  readonly faults: number
}
export interface EvalEvent extends Base {
  readonly type: 'eval'
  readonly step: number
  readonly loss: number
  readonly perplexity: number
  /** Share of supervised positions whose argmax is the label. */
  readonly accuracy: number
  readonly rows: number
  readonly ms: number
}
export interface SampleEvent extends Base {
  readonly type: 'sample'
  readonly step: number
  readonly samples: readonly { readonly prompt: string; readonly answer: string; readonly reference: string | null }[]
}
export interface SavedEvent extends Base { readonly type: 'saved'; readonly step: number; readonly path: string; readonly final: boolean }
export interface WarningEvent extends Base { readonly type: 'warning'; readonly code: string; readonly message: string }
/** A command from the front (stop, save, evaluate, …) was taken. */
export interface CommandEvent extends Base { readonly type: 'command'; readonly command: string; readonly step: number }
export interface DoneEvent extends Base { readonly type: 'done'; readonly step: number; readonly stopped: boolean; readonly output: string; readonly ms: number }
export interface FailedEvent extends Base { readonly type: 'failed'; readonly error: SerializedError }
