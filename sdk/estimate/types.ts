import type { BatchPlan, MeshPlan, Plan } from '../plan/plan'

/** Bytes of a rank's process at its highest, by what they are for; they sum to `total`. */
export interface MemoryParts {
  /** Node, libtorch, tokenizer and data, before the model is there. */
  readonly process: number
  /** Frozen weights, and those that train with their fp32 masters. */
  readonly weights: number
  /** In fp32, of what trains. */
  readonly gradients: number
  /** AdamW's two moments. */
  readonly optimizer: number
  /** What layers keep from their forward to their backward. */
  readonly activations: number
  /** Buffers that layers share, and what operators take for a moment. */
  readonly workspace: number
  /** Logits of the head, which exist in panels of rows. */
  readonly head: number
  /** Gradients on their way between ranks. */
  readonly messages: number
  /** Buffers that the final weights are written through. */
  readonly saving: number
  /** All of them together. */
  readonly total: number
}

/** s of an optimizer step, by what they go to; they sum to `total`. */
export interface TimeParts {
  /** Token ids to hidden states. */
  readonly embed: number
  /** Of all layers. */
  readonly forward: number
  /** Logits, loss and their gradient, at the supervised positions. */
  readonly head: number
  /** Of all layers, with what recompute runs again. */
  readonly backward: number
  /** Of a pipeline's stages for each other. */
  readonly waiting: number
  /** Between ranks, as far as nothing hides it. */
  readonly messages: number
  /** Gradients cleared, measured and clipped; AdamW. */
  readonly update: number
  /** All of them together. */
  readonly total: number
}

/** What `.fit()` may change: nothing of it changes what an optimizer step computes. */
export interface FitChange {
  /** Ranks by kind of parallelism. */
  readonly mesh: MeshPlan
  /** Rows and tokens at once; as many rows a step as before. */
  readonly batch: BatchPlan
  /** What is computed again in the backward. */
  readonly recompute: Plan['recompute']
}

/** One way to run a plan, with what it would take. */
export interface Candidate extends FitChange {
  /** The builder's calls that make it of the plan; `as planned`. */
  readonly calls: string
  /** Bytes of the rank that needs most. */
  readonly memory: number
  /** s of an optimizer step. */
  readonly seconds: number
  /** Settings that it changes. */
  readonly changes: number
  /** Ranks that share the memory that is free: all of them on one machine's CPU, else 1. */
  readonly ranksHere: number
  /** Why it was chosen, or why not. */
  readonly reason: string
}

/** What a plan would take on a machine. */
export interface ForecastFacts {
  /** The plan as it stands. */
  readonly plan: Plan
  /** `this machine`, or a device of the catalogue. */
  readonly device: string
  /** Measured on this machine; `false`: computed from the device's data sheet and assumptions. */
  readonly measured: boolean
  /** Which form of the blocks runs, with its kernels. */
  readonly form: string
  /** Bytes that all ranks of the machine may take together, of a GPU that one may take. */
  readonly free: number
  /** Of the plan as it stands: memory of a rank of each pipeline stage. */
  readonly memory: readonly MemoryParts[]
  /** Of the plan as it stands: s of an optimizer step. */
  readonly time: TimeParts
  /** Optimizer steps of the run. */
  readonly steps: number
  /** Tokens a step, on all ranks, on average. */
  readonly tokens: number
  /** Of the plan as it stands, on all ranks. */
  readonly tokensPerSecond: number
  /** Bytes of a checkpoint to resume from. */
  readonly checkpoint: number
  /** s of the whole run: its steps alone. */
  readonly seconds: number
  /** True: the plan as it stands fits. */
  readonly fits: boolean
  /** All that was tried, the chosen one first. */
  readonly candidates: readonly Candidate[]
  /** What the figures rest on, in words. */
  readonly notes: readonly string[]
}
