/** Which way a block ran: the forward, the backward, or a forward that runs again before its backward (recompute). */
export type ProfilePass = 'forward' | 'backward' | 'recompute'

/** A stretch of time in a profiled step. */
export interface ProfileSpan {
  /** A block of the decoder, a part of the step beside the walk, or a collective among ranks. */
  readonly kind: 'block' | 'part' | 'communication'
  /** The block's id (`qkv`, `attention`, `down`, …), the part's (`batches`, `walk`, `gradNorm`, `update`, …), or the collective's. */
  readonly name: string
  /** Of a block in a layer its number, from 0; else −1. */
  readonly layer: number
  /** Of a block alone. */
  readonly pass: ProfilePass | null
  /** ms since the first profiled step began. */
  readonly start: number
  /** Duration. */
  readonly ms: number
  /** Floating-point operations of its matrix products, an adapter's included; a multiply and an add are two. */
  readonly flops: number
  /** Minor page faults of the process. */
  readonly faults: number
  /** Rows and widths, as `612 × 576 → 960, LoRA 24`; of parts and collectives nothing. */
  readonly shape: string
}

/** What memory held at a boundary of the walk. */
export interface MemoryReading {
  /** ms since the first profiled step began. */
  readonly time: number
  /** Where: the step's begin or end, or behind the embedding, a layer's forward, the head, a layer's backward. */
  readonly at: 'begin' | 'embed' | 'forward' | 'head' | 'backward' | 'end'
  /** Of a layer's forward or backward; else −1. */
  readonly layer: number
  /** Bytes: resident memory of the process; on a GPU what its allocator holds. */
  readonly resident: number
  /** Bytes in tensors of the device. */
  readonly tensors: number
  /** Bytes: the most in tensors since the reading before. */
  readonly tensorsPeak: number
  /** Bytes of planned buffers, panels of the head and packed weights, which are not among `tensors`. */
  readonly planned: number
  /** Bytes that the blocks' records keep for the backward, each tensor once; they lie in planned buffers or among `tensors`. */
  readonly kept: number
}

/** A part of the peak memory. All parts sum to the peak. */
export interface MemoryPart {
  /** Which. `rest`: JavaScript's heap, rows of the data, and memory that was freed and is kept for the next step. */
  readonly name: 'library and runtime' | 'weights' | 'packed weights' | 'gradients' | 'optimizer moments' | 'activations' | 'workspace' | 'head panel' | 'rest'
  /** How much of the peak. */
  readonly bytes: number
}

/** How fast large matrix products run here: in the run's type, with its threads. */
export interface GemmLimit {
  /** The larger of the two, in FLOP/s. */
  readonly best: number
  /** Best FLOP/s of the blocks' own linear layer. */
  readonly blocks: number
  /** Best FLOP/s of ATen's product. */
  readonly aten: number
  /** Length of the sides of the product that was fastest. */
  readonly size: number
}

/** One profiled step. */
export interface ProfileStep {
  /** Its number, from 1. */
  readonly step: number
  /** ms since the first profiled step began. */
  readonly start: number
  /** Duration. */
  readonly ms: number
  /** All its tokens, on all ranks. */
  readonly tokens: number
  /** Those with a label. */
  readonly supervised: number
}

/** What one rank saw. */
export interface RankProfile {
  /** Its number, from 0. */
  readonly rank: number
  /** The steps, in order. */
  readonly steps: readonly ProfileStep[]
  /** Blocks, parts and collectives, by their begin. */
  readonly spans: readonly ProfileSpan[]
  /** The staircase of memory. */
  readonly memory: readonly MemoryReading[]
  /** Peak memory by part. */
  readonly parts: readonly MemoryPart[]
  /** Microseconds since the epoch when the first profiled step began, so that ranks of several hosts line up. */
  readonly epoch: number
}

/** A profile as `profile-STEP.json` has it. */
export interface ProfileData {
  /** Of this form of the file. */
  readonly version: 1
  /** The model's name, as the plan gives it. */
  readonly model: string
  /** `cpu` or `cuda:N`. */
  readonly device: string
  /** Type that blocks compute in. */
  readonly dtype: string
  /** CPU threads of a rank. */
  readonly threads: number
  /** Form of the blocks. */
  readonly blocks: string
  /** What the machine's products can do. */
  readonly limit: GemmLimit
  /** Rank 0 first; others where they train on this file system. */
  readonly ranks: readonly RankProfile[]
}
