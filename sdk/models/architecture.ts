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
  readonly norm: { readonly kind: 'rms' | 'layer'; readonly eps: number; readonly bias: boolean }
  readonly positions: RotaryPositions
  /** Scale of q·k before softmax. */
  readonly attentionScale: number
  readonly attentionBias: { readonly qkv: boolean; readonly out: boolean }
  readonly mlp: { readonly kind: 'gated' | 'plain'; readonly activation: 'silu' | 'gelu' | 'gelu_tanh' | 'relu'; readonly bias: boolean }
  readonly tiedHead: boolean
  readonly eosIds: readonly number[]
  readonly bosId: number | null
  readonly padId: number | null
}

export interface RotaryPositions {
  readonly kind: 'rotary'
  readonly theta: number
  /** Leading part of each head that is rotated. */
  readonly dim: number
  /** `half`: x[i] pairs with x[i + dim/2]; `interleaved`: with its neighbour. */
  readonly layout: 'half' | 'interleaved'
  readonly scaling:
    | { readonly kind: 'none' }
    | { readonly kind: 'linear'; readonly factor: number }
    | { readonly kind: 'dynamic'; readonly factor: number; readonly originalMaxPositions: number }
    | { readonly kind: 'llama3'; readonly factor: number; readonly lowFreqFactor: number; readonly highFreqFactor: number; readonly originalMaxPositions: number }
}

/** How a parameter is cut over tensor-parallel ranks, and the unit (rows or columns) that a cut may not split. */
export interface Role { readonly kind: 'column' | 'row' | 'vocab' | 'replicate'; readonly unit: number }

/** A linear layer of the decoder: one stored matrix [sum of rows, in], made of the parts that checkpoints keep apart (q, k, v). */
export interface LinearSpec {
  readonly parts: readonly { readonly name: string; readonly rows: number; readonly role: Role }[]
  readonly inFeatures: number
  readonly bias: boolean
}

export interface LayerSpec {
  readonly inputNorm: string
  readonly qkv: LinearSpec
  readonly out: LinearSpec
  readonly postNorm: string
  /** Gated: gate then up as parts; plain: one part. */
  readonly up: LinearSpec
  readonly down: LinearSpec
}

/** Where everything is: the family's names over the decoder's places. Linear part names end without `.weight`/`.bias`. */
export interface NameMap {
  readonly embedding: string
  readonly layer: (index: number) => LayerSpec
  readonly finalNorm: string
  /** The head's module name; for tied heads the embedding's weight is used. */
  readonly head: string
  /** Names in checkpoints that carry no weight. */
  readonly ignore: readonly RegExp[]
}

export interface Family {
  readonly name: string
  /** Does this config.json describe the family? */
  readonly matches: (config: Record<string, unknown>) => boolean
  readonly architecture: (config: Record<string, unknown>) => Architecture
  readonly names: (architecture: Architecture) => NameMap
}
