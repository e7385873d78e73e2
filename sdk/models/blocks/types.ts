import type { DType, Tensor } from 'fettle-native'
import type { LayerOrder, RotaryPositions } from '../architecture'
import type { Attention } from '../batch'

/**
 * The contract of a block: `forward(inputs) -> { out, saved }`, `backward(gradient, saved) -> gradient of the input`.
 *
 * Rules that both forms keep:
 * - Activations are flat, `[tokens, features]`, contiguous, in the compute dtype. Gradients of activations likewise.
 * - A block runs without a graph outside it: `out` and every returned gradient never require grad.
 * - Gradients of weights are *added* in fp32 into `Weight.grad`; `grad === null` means frozen, nothing is computed.
 * - `saved` is plain data (tensors, numbers, arrays, plain objects), so that `scope` keeps what it reaches. It is
 *   `null` unless `context.mode` is `train`, and it serves one backward.
 * - Where a method says *in place*, the argument's memory may be overwritten and is the caller's no more.
 * - A fused form may return views of buffers it planned. Such an `out` stays valid until the same block is run again
 *   with the same `id` and `layer`, that of a norm or an activation only until its layer ends; the caller copies what
 *   must live longer.
 */
export interface Blocks {
  /** `plain`, `fused` or `cuda`, for messages and the bench. */
  readonly form: string
  readonly embedding: EmbeddingBlock
  readonly norm: NormBlock
  readonly linear: LinearBlock
  readonly headNorm: HeadNormBlock
  readonly rotary: RotaryBlock
  readonly attention: AttentionBlock
  readonly activation: ActivationBlock
  readonly head: HeadBlock
  /** Set where a form runs whole layers for one more token of each row of a cache. */
  readonly decode?: DecodeBlock
  /** Set where ranks divide the tokens of a pass between them, within the layers. */
  readonly tokens?: DividedTokens
  /** Trainable values were written (load, optimizer step, resume): anything packed from them is stale. */
  weightsChanged(): void
  /** No batch will be longer than so many tokens: planned buffers are laid out for it at once. Longer ones still run. */
  reserve(tokens: number): void
  /** Gives planned buffers and packed weights back. */
  free(): void
  /** What they hold beside weights. Left out: nothing that stays from step to step. */
  memory?(): BlocksMemory
}

/** All of it. */
export function heldBytes(blocks: Blocks): number {
  const { buffers, panels, packed } = blocks.memory?.() ?? { buffers: 0, panels: 0, packed: 0 }
  return buffers + panels + packed
}

/** Memory of blocks that stays from step to step, in bytes. */
export interface BlocksMemory {
  /** Buffers for the longest batch. */
  readonly buffers: number
  /** Logits of the head, as many as exist at once. */
  readonly panels: number
  /** Weights in a form that products read. */
  readonly packed: number
}

/** How hidden states are divided between ranks: each holds as many rows, the last ones some of zeros. */
export interface DividedTokens {
  /** Rows of each rank. */
  rows(tokens: number): number
  /** This rank's rows of `[tokens, hidden]`. */
  own(x: Tensor): Tensor
  /** All tokens, of which each rank has its rows. */
  all(own: Tensor, tokens: number): Tensor
}

/** Output of a forward and what its backward needs. */
export interface Forward { readonly out: Tensor; readonly saved: Saved }
/** A block's own record: plain data. Only the block that made it reads it. */
export type Saved = object | null

/** What all blocks of one pass share. */
export interface BlockContext {
  /**
   * `train`: a backward follows, keep `saved`. `boundary`: as train, but only the layer's output is kept (recompute
   * runs the layer again before its backward). `infer`: no backward follows.
   */
  readonly mode: 'train' | 'boundary' | 'infer'
  /** Adapter dropout is active. It draws from the default generator: recompute restores the generator's state first. */
  readonly dropout: boolean
  /** `false`: adapters are left out. For the decoder, which then gives the blocks weights without one. */
  readonly adapter: boolean
  readonly dtype: DType
  /** A layer runs again for its records, right before its backward: they serve one layer at a time. Default false. */
  readonly again?: boolean
  /** Which of several micro-batches between their forward and backward; left out: the only one. */
  readonly slot?: number
  /** Number of rows N of the flat batch. */
  readonly tokens: number
  readonly attention: Attention
  /** `null`: positions are not rotary. */
  readonly rope: RopeTables | null
  readonly scores: ScoreBiases
  /** Trained keys and values that stand before each sequence; `null`: none. `scores` then have columns for them, in front, where they are not `null`. */
  readonly prefix: PrefixWeights | null
  /** Layers take turns in the memory of their weights: nothing may be kept that was made from them. Default false. */
  readonly transientWeights?: boolean
}

/**
 * Keys and values of a trained prefix (arXiv 2101.00190): `[tokens, 2 · layers, kvHeads, headDim]`, layer l's keys at 2l
 * and its values at 2l + 1. They enter attention as they are: not normed, not rotated.
 */
export interface PrefixWeights { readonly tokens: number; readonly past: Weight }

/**
 * Cosines and sines for each token of the batch: fp32 `[N, dim / 2]`, where `dim` is the rotated part of a head; those of
 * a second axis beside those of the first. `queryScale` fp32 `[N]` multiplies each token's queries.
 */
export interface RopeTables { readonly cos: Tensor; readonly sin: Tensor; readonly queryScale: Tensor | null }

/**
 * What is added to scores, or which are seen, beyond causality; `null`: causal and nothing else, a prefix seen whole.
 * `packed`: `[1, heads or 1, L, L]` for the longest sequence, shorter ones take the upper left of it; or one for each
 * sequence. `masked` and one more token to a `cached` row: the whole mask, `[rows, heads or 1, queries, keys]`.
 * bool: true = seen; else in the compute dtype.
 */
export type ScoreBias = Tensor | readonly Tensor[] | null

/** For layers that see all of the past, and for those with a window. `rule`: the same as numbers, where the block knows rules; then the biases are `null`. */
export interface ScoreBiases { readonly full: ScoreBias; readonly windowed: ScoreBias; readonly rule?: ScoreRule }

/** What is added to scores of packed rows, or which are seen, beyond causality. */
export interface ScoreRule {
  /** ALiBi's slope of each head: fp32 `[heads]`. */
  readonly slopes: Tensor | null
  /** Tokens that a query sees in windowed layers, itself included. */
  readonly window: number | null
  /** Leading tokens of each sequence that all of it sees. */
  readonly seen: readonly number[] | null
}

/** Which block of which layer is called: the key of planned buffers and packed weights. Outside layers `layer` is −1. */
export interface Place { readonly layer: number; readonly id: BlockId }
export type BlockId = 'embedding' | 'projectIn' | 'embeddingNorm' | 'queryKeyNorm' | 'outNorm' | 'downNorm' | 'projectOut' | 'inputNorm' | 'qkv' | 'rotary' | 'attention' | 'out' | 'postNorm' | 'up' | 'activation' | 'down' | 'finalNorm' | 'head'

/** One stored weight. */
export interface Weight {
  /** What the forward reads: compute dtype. When fp32 weights train, the master itself. */
  readonly value: Tensor
  /** fp32 master, written by the optimizer; `null`: frozen. */
  readonly master: Tensor | null
  /** fp32 gradient that a backward adds to; `null`: frozen. */
  readonly grad: Tensor | null
}

export interface NormWeights {
  readonly kind: 'rms' | 'layer'
  readonly eps: number
  /** Added to the weight. */
  readonly offset: 0 | 1
  /** `[hidden]` */
  readonly weight: Weight
  readonly bias: Weight | null
}

/** A linear layer: `y = x Wᵀ (+ bias) (+ adapter) (+ residual)`; parts of checkpoints (q, k, v) are row ranges. */
export interface LinearWeights {
  readonly inFeatures: number
  readonly outFeatures: number
  /** `[outFeatures, inFeatures]` */
  readonly weight: Weight
  /** `[outFeatures]` */
  readonly bias: Weight | null
  readonly lora: LoraWeights | null
}

/**
 * LoRA on a joined linear layer. Only adapted parts appear. `a` stacks their A matrices, so that one product serves all.
 * For part p: `y[:, rowStart : rowStart + rows] += scale · (dropout(x) A_pᵀ) B_pᵀ`, `A_p = a[rankStart : rankStart + rank]`.
 */
export interface LoraWeights {
  /** `[sum of ranks, inFeatures]` */
  readonly a: Weight
  readonly parts: readonly LoraPart[]
  readonly dropout: number
  /** Where W's columns are cut: sums over the ranks that hold the others (DoRA's lengths). */
  readonly sumOverColumns: ((tensor: Tensor) => void) | null
  /** Takes its place where the adapter is left out: a frozen one that makes the weight whole again. Left out: the weight is whole. */
  readonly first?: LoraWeights
}

export interface LoraPart {
  readonly rowStart: number
  readonly rows: number
  readonly rankStart: number
  readonly rank: number
  /** alpha / rank, or alpha / √rank (rsLoRA). */
  readonly scale: number
  /** `[rows, rank]` */
  readonly b: Weight
  /** DoRA (arXiv 2402.09353): `[rows]`, length of each row of the merged weight; `null`: plain LoRA. A fused form that does not know it hands over to the plain one. */
  readonly magnitude: Weight | null
}

export interface HeadWeights {
  /** `[vocab, hidden]`; for tied heads the embedding's weight, gradient included. */
  readonly weight: Weight
}

export interface EmbeddingBlock {
  /** ids int64 `[N]` → `[N, hidden]`. */
  forward(ids: Tensor, weight: Weight, context: BlockContext): Tensor
  /** Adds the rows' gradients to `weight.grad`. */
  backward(grad: Tensor, ids: Tensor, weight: Weight): void
}

export interface NormBlock {
  /** Statistics in fp32. */
  forward(x: Tensor, weights: NormWeights, place: Place, context: BlockContext): Forward
  /** Gradient of x, plus `residual` (the gradient that reaches x past the norm), which may be overwritten *in place*. */
  backward(grad: Tensor, residual: Tensor | null, saved: Saved, weights: NormWeights, place: Place): Tensor
}

export interface LinearBlock {
  /** `residual` `[N, out]` is added; its gradient is the incoming one, so that backward does not return it. */
  forward(x: Tensor, residual: Tensor | null, weights: LinearWeights, place: Place, context: BlockContext): Forward
  /** Gradient of x; `grad` is left as it is. */
  backward(grad: Tensor, saved: Saved, weights: LinearWeights, place: Place): Tensor
}

/** Norms of each query head and each key head, over `headDim`. */
export interface HeadNormWeights { readonly query: NormWeights; readonly key: NormWeights }

export interface HeadNormBlock {
  /** Joined qkv → another with normed queries and keys. */
  forward(qkv: Tensor, weights: HeadNormWeights, shape: HeadShape, place: Place, context: BlockContext): Forward
  /** Gradient of the joined qkv. */
  backward(grad: Tensor, saved: Saved, weights: HeadNormWeights, place: Place): Tensor
}

/** How heads lie in a joined `[N, (heads + 2·kvHeads)·headDim]`. */
export interface HeadShape {
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  /** Scale of q·k before softmax. */
  readonly scale: number
  /** As `Architecture.qkvLayout` says. */
  readonly layout: 'separate' | 'grouped'
  /** The layer sees a window: `ScoreBiases.windowed` is its bias. */
  readonly windowed: boolean
  /** Tokens that a layer with a window sees, its own the last of them. Left out: it has none. */
  readonly window?: number
  /** `null`: positions are not rotary. */
  readonly rotary: Pick<RotaryPositions, 'dim' | 'layout' | 'axes'> | null
}

export interface RotaryBlock {
  /** Rotates queries and keys of a joined qkv *in place* and returns it. */
  forward(qkv: Tensor, shape: HeadShape, place: Place, context: BlockContext): Tensor
  /** Rotates the gradient back, *in place*. */
  backward(grad: Tensor, shape: HeadShape, place: Place, context: BlockContext): Tensor
}

export interface AttentionBlock {
  /** Reads `ScoreBiases.rule` of packed batches; default: it needs biases. */
  readonly rules?: boolean
  /**
   * Joined, rotated qkv → `[N, heads·headDim]`, in each sequence of `context.attention` causal or as `context.scores` says. Softmax in fp32.
   * For `cached` attention keys and values are first appended to the cache of `place.layer`.
   * A prefix comes before each sequence; a cache holds it already.
   */
  forward(qkv: Tensor, shape: HeadShape, place: Place, context: BlockContext): Forward
  /** Gradient of the joined qkv; that of a prefix is added to its own. */
  backward(grad: Tensor, saved: Saved, shape: HeadShape, place: Place, context: BlockContext): Tensor
}

export interface ActivationShape {
  /** `gated`: input `[N, 2·width]`, gate then up, `act(gate) · up`; `plain`: input `[N, width]`. */
  readonly kind: 'gated' | 'plain'
  readonly activation: 'silu' | 'gelu' | 'gelu_tanh' | 'relu'
  readonly width: number
}

export interface ActivationBlock {
  forward(x: Tensor, shape: ActivationShape, place: Place, context: BlockContext): Forward
  backward(grad: Tensor, saved: Saved, shape: ActivationShape, place: Place): Tensor
}

/** All that a layer is made of. */
export interface WholeLayer {
  readonly inputNorm: NormWeights
  readonly postNorm: NormWeights
  readonly outNorm: NormWeights | null
  readonly downNorm: NormWeights | null
  readonly queryKeyNorm: HeadNormWeights | null
  readonly qkv: LinearWeights
  readonly out: LinearWeights
  readonly up: LinearWeights
  readonly down: LinearWeights
  readonly shape: HeadShape
  readonly activation: ActivationShape
  readonly order: LayerOrder
}

export interface DecodeBlock {
  /** x `[rows, hidden]`, one more token of each row of a cache → the layer's output, keys and values appended; `null`: such a layer runs block by block. */
  forward(x: Tensor, layer: WholeLayer, index: number, context: BlockContext): Tensor | null
}

export interface HeadLoss {
  /** Sum of −log p(label) over the rows, fp32 scalar on the device, not scaled. */
  readonly lossSum: Tensor
  /** Rows whose largest logit is the label: int64 scalar on the device. */
  readonly correct: Tensor
  /** Gradient of `scale · lossSum` for the hidden rows; `null` when it was not asked. */
  readonly gradHidden: Tensor | null
}

export interface HeadBlock {
  /**
   * Loss at `hidden` `[S, hidden]` (supervised rows after the final norm) with `labels` int64 `[S]`, in chunks: logits of
   * all rows never exist at once. With `gradient`, gradients come in the same pass, the weight's added to its `grad`.
   * Only in this case labels may not be empty.
   */
  loss(hidden: Tensor, labels: Tensor, weights: HeadWeights, options: { readonly scale: number; readonly gradient: boolean }): HeadLoss
  /** fp32 logits `[S, vocab]`. */
  logits(hidden: Tensor, weights: HeadWeights): Tensor
}
