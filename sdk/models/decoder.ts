import { ops, scope, type Tensor } from 'fettle-native'
import type { Batch, Targets } from './batch'
import type { ActivationShape, BlockContext, Blocks, HeadShape, Place, Saved } from './blocks/types'
import { freeAll } from './free'
import type { LayerWeights, Parameters } from './parameters'
import { Rope } from './rope'

/** How a pass runs; see `BlockContext`. */
export interface PassOptions {
  readonly mode: BlockContext['mode']
  readonly dropout?: boolean
  /** `false`: the model as it came, an attached adapter left out. Only without a backward. Default true. */
  readonly adapter?: boolean
}

/** A layer's output and what its backward needs. */
export interface LayerForward { readonly out: Tensor; readonly saved: LayerSaved | null }
/** Records of a layer's blocks; plain data that serves one backward. */
export interface LayerSaved {
  readonly inputNorm: Saved; readonly qkv: Saved; readonly attention: Saved; readonly out: Saved
  readonly postNorm: Saved; readonly up: Saved; readonly activation: Saved; readonly down: Saved
}

export interface HeadResult {
  /** Sum of −log p over the supervised positions: fp32 scalar, not scaled. */
  readonly lossSum: Tensor
  /** How many of them have the label as their largest logit: int64 scalar. */
  readonly correct: Tensor
  /** Gradient of `scale · lossSum` for the hidden states `[N, hidden]`; `null` unless asked. */
  readonly gradX: Tensor | null
}

/**
 * The decoder: the only forward and backward of a model. It composes blocks as the architecture record says, layer by
 * layer, and knows neither which form of the blocks runs nor which family it is.
 *
 * Callers walk: `embed`, `layerForward` for each layer, `headLoss`, `layerBackward` in reverse, `embedBackward`. Nothing
 * here builds a graph that outlives a call. Tensors that are returned belong to the caller's scope.
 */
export class Decoder {
  readonly layers: number
  private readonly rope: Rope
  private readonly shape: HeadShape
  private readonly activation: ActivationShape

  constructor(readonly parameters: Parameters, readonly blocks: Blocks) {
    const a = parameters.architecture
    this.layers = a.layers
    this.rope = new Rope(a, parameters.device)
    this.shape = { heads: a.heads, kvHeads: a.kvHeads, headDim: a.headDim, scale: a.attentionScale, rotary: { dim: a.positions.dim, layout: a.positions.layout } }
    this.activation = { kind: a.mlp.kind, activation: a.mlp.activation, width: a.intermediateSize }
  }

  /** What all layers of a pass over `batch` share. Make one for each batch and pass. */
  context(batch: Batch, options: PassOptions): BlockContext {
    const rope = scope(() => this.rope.tables(batch))
    return { mode: options.mode, dropout: options.dropout ?? false, adapter: options.adapter ?? true, dtype: this.parameters.dtype, tokens: batch.tokens, attention: batch.attention, rope }
  }

  /** Token ids → `[N, hidden]`. */
  embed(batch: Batch, context: BlockContext): Tensor {
    return scope(() => this.blocks.embedding.forward(batch.ids, this.parameters.embedding, context))
  }

  /**
   * As in the published implementations the padding token's row learns nothing from being an input; where it is the end
   * token too, and the head is tied, it still learns as an output.
   */
  embedBackward(grad: Tensor, batch: Batch): void {
    const { embedding, architecture: { padId } } = this.parameters
    if (embedding.grad === null) return
    scope(() => {
      const learns = padId === null ? grad : ops.mul(grad, ops.unsqueeze(ops.ne(batch.ids, padId), 1))
      this.blocks.embedding.backward(learns, batch.ids, embedding)
    })
  }

  /** x `[N, hidden]` → the layer's output. x stays as it is. */
  layerForward(index: number, x: Tensor, context: BlockContext): LayerForward {
    return scope(() => {
      const { blocks, shape } = this, w = context.adapter ? this.layer(index) : withoutAdapter(this.layer(index))
      const at = (id: Place['id']): Place => ({ layer: index, id })
      const inputNorm = blocks.norm.forward(x, w.inputNorm, at('inputNorm'), context)
      const qkv = blocks.linear.forward(inputNorm.out, null, w.qkv, at('qkv'), context)
      const rotated = blocks.rotary.forward(qkv.out, shape, at('rotary'), context)
      const attention = blocks.attention.forward(rotated, shape, at('attention'), context)
      const out = blocks.linear.forward(attention.out, x, w.out, at('out'), context)
      const postNorm = blocks.norm.forward(out.out, w.postNorm, at('postNorm'), context)
      const up = blocks.linear.forward(postNorm.out, null, w.up, at('up'), context)
      const activation = blocks.activation.forward(up.out, this.activation, at('activation'), context)
      const down = blocks.linear.forward(activation.out, out.out, w.down, at('down'), context)
      if (context.mode !== 'train') return { out: down.out, saved: null }
      return {
        out: down.out,
        saved: {
          inputNorm: inputNorm.saved, qkv: qkv.saved, attention: attention.saved, out: out.saved,
          postNorm: postNorm.saved, up: up.saved, activation: activation.saved, down: down.saved,
        },
      }
    })
  }

  /**
   * Gradient of the layer's output → gradient of its input; weights' gradients are added to theirs. `grad` may be
   * overwritten. `saved` is freed: it serves once.
   */
  layerBackward(index: number, grad: Tensor, saved: LayerSaved, context: BlockContext): Tensor {
    const gradX = scope(() => {
      const { blocks, shape } = this, w = this.layer(index)
      const at = (id: Place['id']): Place => ({ layer: index, id })
      const gradActivation = blocks.linear.backward(grad, saved.down, w.down, at('down'))
      const gradUp = blocks.activation.backward(gradActivation, saved.activation, this.activation, at('activation'))
      const gradPostNorm = blocks.linear.backward(gradUp, saved.up, w.up, at('up'))
      const gradMiddle = blocks.norm.backward(gradPostNorm, grad, saved.postNorm, w.postNorm, at('postNorm'))
      const gradAttention = blocks.linear.backward(gradMiddle, saved.out, w.out, at('out'))
      const gradRotated = blocks.attention.backward(gradAttention, saved.attention, shape, at('attention'), context)
      const gradQkv = blocks.rotary.backward(gradRotated, shape, at('rotary'), context)
      const gradInputNorm = blocks.linear.backward(gradQkv, saved.qkv, w.qkv, at('qkv'))
      return blocks.norm.backward(gradInputNorm, gradMiddle, saved.inputNorm, w.inputNorm, at('inputNorm'))
    })
    freeAll(saved)
    return gradX
  }

  /**
   * Final norm, head and loss at the supervised positions only. `scale` multiplies the gradient (1 / supervised tokens of
   * the whole window), not `lossSum`. With `gradient` the head's and norm's gradients are added to theirs.
   * Targets must not be empty.
   */
  headLoss(x: Tensor, targets: Targets, options: { readonly scale: number; readonly gradient: boolean; readonly context: BlockContext }): HeadResult {
    return scope(() => {
      const { blocks, parameters } = this, place: Place = { layer: -1, id: 'finalNorm' }
      const context: BlockContext = { ...options.context, mode: options.gradient ? 'train' : 'infer', tokens: targets.count }
      const norm = blocks.norm.forward(ops.index_select(x, 0, targets.rows), parameters.finalNorm, place, context)
      const { lossSum, correct, gradHidden } = blocks.head.loss(norm.out, targets.labels, parameters.head, options)
      if (gradHidden === null) return { lossSum, correct, gradX: null }
      const gradRows = blocks.norm.backward(gradHidden, null, norm.saved, parameters.finalNorm, place)
      return { lossSum, correct, gradX: ops.index_copy_(ops.zeros_like(x), 0, targets.rows, gradRows) }
    })
  }

  /** fp32 logits `[rows, vocab]` of all of x, or of the rows named (int64 `[S]`). */
  headLogits(x: Tensor, context: BlockContext, rows: Tensor | null = null): Tensor {
    return scope(() => {
      const chosen = rows === null ? x : ops.index_select(x, 0, rows)
      const infer: BlockContext = { ...context, mode: 'infer', tokens: chosen.shape[0] }
      return this.blocks.head.logits(this.blocks.norm.forward(chosen, this.parameters.finalNorm, { layer: -1, id: 'finalNorm' }, infer).out, this.parameters.head)
    })
  }

  /** All layers without a backward: hidden states `[N, hidden]` before the final norm. */
  hidden(batch: Batch, context: BlockContext): Tensor {
    return scope(() => {
      let x = this.embed(batch, context)
      for (let i = 0; i < this.layers; i++) {
        const next = this.layerForward(i, x, context).out
        x.free()
        x = next
      }
      return x
    })
  }

  /** After an optimizer step or a load: compute copies follow the masters, packed weights are made again. */
  weightsChanged(): void {
    this.parameters.sync()
    this.blocks.weightsChanged()
  }

  /** Frees what the decoder and its blocks hold; the parameters stay. */
  free(): void { this.rope.free(); this.blocks.free() }

  private layer(index: number): LayerWeights { return this.parameters.layers[index] }
}

/** Made at each use: adapters come and go, and merged weights replace others. */
function withoutAdapter(layer: LayerWeights): LayerWeights {
  const bare = (linear: LayerWeights['qkv']): LayerWeights['qkv'] => (linear.lora === null ? linear : { ...linear, lora: null })
  return { ...layer, qkv: bare(layer.qkv), out: bare(layer.out), up: bare(layer.up), down: bare(layer.down) }
}
