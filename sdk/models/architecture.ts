/** What a family is, as data. The decoder reads these fields and never a family's name. */
export interface Architecture {
  readonly family: string
  readonly vocabSize: number
  readonly hiddenSize: number
  readonly layers: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly intermediateSize: number
  readonly maxPositions: number
  readonly embedding: EmbeddingShape
  readonly norm: NormShape
  /** Where a layer's norms stand and what its halves are added to. */
  readonly order: LayerOrder
  /** A norm stands between the last layer and the head. */
  readonly finalNorm: boolean
  readonly positions: RotaryPositions | LearnedPositions | AlibiPositions
  /** Scale of q·k before softmax. */
  readonly attentionScale: number
  /**
   * How a joined qkv lies: `separate`: all queries, then all keys, then all values; `grouped`: for each key/value head
   * its queries, its key, its value.
   */
  readonly qkvLayout: 'separate' | 'grouped'
  /** Queries and keys of each head pass a norm of their own before the rotation. */
  readonly queryKeyNorm: boolean
  /** Layers in which a token sees only the last `size` tokens, itself included. */
  readonly window: { readonly size: number; readonly layers: readonly boolean[] } | null
  /**
   * Trained length beyond which, in inference, the query at position t is scaled by log(t + 1) / log(length), so that
   * attention stays as sharp (logn attention).
   */
  readonly logn: number | null
  /** The prompt is seen by all of its own tokens; `null`: causal everywhere. */
  readonly prompt: PromptRule | null
  /** Positions go on after a trained prefix, as if its places were tokens; `false`: they are as without one. */
  readonly countsPrefix: boolean
  readonly attentionBias: { readonly qkv: boolean; readonly out: boolean }
  readonly mlp: { readonly kind: 'gated' | 'plain'; readonly activation: 'silu' | 'gelu' | 'gelu_tanh' | 'relu'; readonly bias: boolean }
  readonly tiedHead: boolean
  readonly eosIds: readonly number[]
  readonly bosId: number | null
}

export interface EmbeddingShape {
  /** Width of the table and the head; where it is not the hidden size, two projections stand between. */
  readonly dim: number
  /** Factor on what the table gives. */
  readonly scale: number
  /** A norm stands behind the embedding. */
  readonly norm: boolean
  /** The token whose row learns nothing from being an input: padding, where the published implementation keeps it out. */
  readonly frozenId: number | null
}

export interface NormShape {
  readonly kind: 'rms' | 'layer'
  readonly eps: number
  readonly bias: boolean
  /** The stored weight is the factor less this. */
  readonly offset: 0 | 1
}

/**
 * `norm` `before`: x + f(norm(x)), for attention and then for the MLP; `after`: norm(x + f(x)); `both`:
 * x + outerNorm(f(norm(x))). `residual` `normed`: what is added is norm(x) instead of x, times `scale`.
 */
export interface LayerOrder { readonly norm: 'before' | 'after' | 'both'; readonly residual: 'input' | 'normed'; readonly scale: number }

export interface RotaryPositions {
  readonly kind: 'rotary'
  readonly theta: number
  /** Leading part of each head that is rotated. */
  readonly dim: number
  /** `half`: x[i] pairs with x[i + dim/2]; `interleaved`: with its neighbour. */
  readonly layout: 'half' | 'interleaved'
  /** 2: the rotated part is two of these side by side, the second turned by the position inside the answer. */
  readonly axes: 1 | 2
  readonly scaling:
    | { readonly kind: 'none' }
    | { readonly kind: 'linear'; readonly factor: number }
    | { readonly kind: 'dynamic'; readonly factor: number; readonly originalMaxPositions: number }
    /** In inference beyond the trained length the base grows, by one step for each doubling. */
    | { readonly kind: 'steps'; readonly trainedLength: number }
    | { readonly kind: 'llama3'; readonly factor: number; readonly lowFreqFactor: number; readonly highFreqFactor: number; readonly originalMaxPositions: number }
}

/** A learned vector for each position, added to the embedding: position p is row p + `offset` of `rows`. */
export interface LearnedPositions { readonly kind: 'learned'; readonly offset: number; readonly rows: number }

/** No positions but a penalty on the distance, a slope for each head (arXiv 2108.12409). */
export interface AlibiPositions { readonly kind: 'alibi' }

/**
 * A sequence is a prompt, which all its tokens see, and an answer that begins with the token `start`. Tokens of the
 * answer all have the position of the first of `marks` that the prompt holds, and count their place in the answer apart.
 */
export interface PromptRule { readonly start: number; readonly marks: readonly number[] }

/**
 * How a parameter is cut over tensor-parallel ranks, and the unit (rows or columns) that a cut may not split. A fused
 * matrix is cut inside each of its `pieces` (rows, top to bottom) instead of as a whole.
 */
export interface Role { readonly kind: 'column' | 'row' | 'vocab' | 'replicate'; readonly unit: number; readonly pieces?: readonly number[] }

/** A linear layer of the decoder: one stored matrix [sum of rows, in], made of the parts that checkpoints keep apart (q, k, v). */
export interface LinearSpec {
  readonly parts: readonly { readonly name: string; readonly rows: number; readonly role: Role }[]
  readonly inFeatures: number
  readonly bias: boolean
}

export interface LayerSpec {
  /** The norm of the attention's half, before or after it. */
  readonly inputNorm: string
  /** Norms of what the halves give: asked for where the record's order has `both`. */
  readonly outNorm?: string
  readonly downNorm?: string
  readonly qkv: LinearSpec
  /** Asked for where the record has `queryKeyNorm`. */
  readonly queryNorm?: string
  readonly keyNorm?: string
  readonly out: LinearSpec
  /** The norm of the MLP's half. */
  readonly postNorm: string
  /** Gated: gate then up, as parts or fused; plain: one part. */
  readonly up: LinearSpec
  readonly down: LinearSpec
}

/**
 * Where everything is: the family's names over the decoder's places. Linear part names end without `.weight`/`.bias`.
 * Optional names are asked for where the record says that there is such a weight.
 */
export interface NameMap {
  /** What the causal-LM class puts before its body's names, with its dot: files may leave it out. */
  readonly body: string
  readonly embedding: string
  readonly embeddingNorm?: string
  readonly positionEmbedding?: string
  readonly projectIn?: string
  readonly projectOut?: string
  readonly layer: (index: number) => LayerSpec
  readonly finalNorm: string
  /** The head's module name; for tied heads the embedding's weight is used. */
  readonly head: string
  /** Names in checkpoints that carry no weight. */
  readonly ignore: readonly RegExp[]
}

export interface Family {
  readonly name: string
  /** What people call its models. */
  readonly title: string
  /** Does this config.json describe the family? */
  readonly matches: (config: Record<string, unknown>) => boolean
  readonly architecture: (config: Record<string, unknown>) => Architecture
  readonly names: (architecture: Architecture) => NameMap
}
