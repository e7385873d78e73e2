import type { PreparedSplit } from '../data/dataset'
import type { SerializedError } from '../errors'
import type { Plan } from '../plan/plan'
import type { Recompute } from '../train/walk'

/** What a step of few layers took on this machine. */
export interface TrialPoint {
  readonly layers: number
  readonly tokens: number
  /** Tokens of the longest row. */
  readonly longest: number
  readonly sequences: number
  readonly supervised: number
  readonly recompute: Recompute
  /** Bytes of resident memory at the step's peak, all of the process's. */
  readonly peak: number
  /** Bytes that each further layer keeps from its forward to its backward, and that its backward adds for good. */
  readonly kept: number
  readonly packed: number
  /** s of a micro-batch: embedding, forward and backward of all its layers, head with loss. */
  readonly embed: number
  readonly forward: number
  readonly head: number
  readonly backward: number
  /** s of a step outside its passes: gradients cleared, measured and clipped, AdamW, copies for the next step. */
  readonly rest: number
}

/** What the short process is asked to measure. */
export interface CalibrationJob {
  readonly plan: Plan
  readonly modelPath: string
  readonly split: PreparedSplit
  /** Rows of the smaller and the larger batch that are tried. */
  readonly small: readonly number[]
  readonly large: readonly number[]
  /** Which forms of recompute are tried. */
  readonly recompute: readonly Recompute[]
  /** Heads and widths of a rank that holds so much of each matrix. */
  readonly tp: number
  readonly threads: number
  /** Ranks that work beside each other on this machine: as many processes measure at once, as they share its cores and memory. */
  readonly together: number
  /** s that it may take, about. */
  readonly seconds: number
}

/** What was measured on this machine, for one kind of step. */
export interface Calibration {
  /** Resident bytes of a rank's process before it holds a model: Node, libtorch, tokenizer, data. */
  readonly base: number
  /** Which form of the blocks ran, and its kernels. */
  readonly form: string
  readonly points: readonly (TrialPoint & { readonly state: number; readonly trainable: number })[]
  readonly threads: number
  /** s that the measurements took. */
  readonly seconds: number
}

export type FromCalibration =
  | { readonly kind: 'progress'; readonly done: number; readonly total: number }
  | { readonly kind: 'done'; readonly result: Calibration }
  | { readonly kind: 'failed'; readonly error: SerializedError }
