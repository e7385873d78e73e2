/** Bytes of a rank's process at its highest, by what they are for; they sum to `total`. */
export interface MemoryParts {
  /** Node, libtorch, tokenizer and data, before the model is there. */
  readonly process: number
  /** Frozen weights, and those that train with their fp32 masters. */
  readonly weights: number
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
  readonly total: number
}

/** s of an optimizer step, by what they go to; they sum to `total`. */
export interface TimeParts {
  readonly embed: number
  readonly forward: number
  readonly head: number
  readonly backward: number
  /** Of a pipeline's stages for each other. */
  readonly waiting: number
  /** Between ranks, as far as nothing hides it. */
  readonly messages: number
  /** Gradients cleared, measured and clipped; AdamW. */
  readonly update: number
  readonly total: number
}
