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
  /** Bytes of resident memory at the step's peak, beyond weights and what trains. */
  readonly memory: number
  /** s of a micro-batch: embedding, forward and backward of all its layers, head with loss. */
  readonly embed: number
  readonly forward: number
  readonly head: number
  readonly backward: number
  /** s of a step outside its passes: gradients cleared, measured and clipped, AdamW, copies for the next step. */
  readonly rest: number
}
