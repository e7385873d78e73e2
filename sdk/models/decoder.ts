import { ops, scope, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { LayerOrder } from './architecture'
import type { Batch, Targets } from './batch'
import type { ActivationShape, BlockContext, Blocks, Forward, HeadShape, LinearWeights, NormWeights, Place, PrefixWeights, Saved } from './blocks/types'
import { freeAll } from './free'
import { addRows } from './blocks/plain'
import { addNoise } from './noise'
import type { LayerWeights, Parameters } from './parameters'
import type { LayerRange } from './share'
import { Rope } from './rope'
import { scoreBiases, scoreRule } from './scores'

/** How a pass runs; see `BlockContext`. `training`: what a model does in inference alone stays off. */
export interface PassOptions {
  readonly mode: BlockContext['mode']
  readonly dropout?: boolean
  readonly training?: boolean
  /** `false`: the model as it came, an attached adapter left out. Only without a backward. Default true. */
  readonly adapter?: boolean
}

/** A layer's output and what its backward needs. */
export interface LayerForward { readonly out: Tensor; readonly saved: LayerSaved | null }
/** Records of a layer's two halves; plain data that serves one backward. `attention` is `null` where that half runs again first. */
export interface LayerSaved { readonly attention: HalfSaved | null; readonly mlp: HalfSaved }
/** Records of a half's norms and of the blocks between them. */
export interface HalfSaved { readonly norm: Saved; readonly inner: readonly Saved[]; readonly outer: Saved }
/** Norms of a half and where they stand; `outer` where the order has `both`. */
interface HalfNorms { readonly norm: NormWeights; readonly place: Place; readonly outer: NormWeights | null; readonly outerPlace: Place }
/** What a norm feeds: its blocks one after the other, with the residual added last. */
type Inner = (input: Tensor, residual: Tensor | null) => { readonly out: Tensor; readonly saved: readonly Saved[] }

/** How the head runs: factor on the gradient, whether there is one, and the pass that it is part of. */
interface LossOptions { readonly scale: number; readonly gradient: boolean; readonly context: BlockContext }

/** The neighbours of a pipeline's stage. Hidden states go forward, their gradients back; what the last stage finds goes to all. */
export interface Pipe {
  readonly first: boolean
  readonly last: boolean
  /** Hidden states `[rows, hidden]` of the stage before. */
  receive(rows: number): Tensor
  send(x: Tensor): void
  /** From the last stage to all, *in place*. */
  share(result: Tensor): void
}

/** Ranks that generate the same tokens, each on its part of the model. */
export interface Together {
  /** The first rank tells the others what to continue. */
  begin(prompts: readonly (readonly number[])[], options: object): void
  /** The first rank's tokens of a step, on all: where a last bit of the logits differs, ranks might pick others. */
  agree(ids: readonly number[]): number[]
  /** Shall there be one more token? The first rank says so, the others hear it. */
  go(on: boolean): boolean
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
  /** Stretches of layers of this rank. */
  readonly chunks: readonly LayerRange[]
  private readonly rope: Rope | null
  private readonly shapes: readonly HeadShape[]
  private readonly activation: ActivationShape
  private readonly order: LayerOrder

  /** Set where other ranks generate along: what is begun here begins there. */
  together: Together | null = null

  /**
   * @param blocks others, that look on at these, take their place while a step is profiled
   * @param pipe to the stages before and after, where a rank holds a range of layers
   */
  constructor(readonly parameters: Parameters, public blocks: Blocks, readonly pipe: Pipe | null = null) {
    const a = parameters.architecture, own = parameters.local, rotary = a.positions.kind === 'rotary' ? a.positions : null
    this.chunks = parameters.share.chunks
    this.rope = rotary && new Rope(a, rotary, parameters.device)
    this.shapes = Array.from({ length: a.layers }, (_, layer) => ({
      heads: own.heads, kvHeads: own.kvHeads, headDim: a.headDim, scale: a.attentionScale, layout: a.qkvLayout, windowed: a.window?.layers[layer] ?? false, ...(a.window?.layers[layer] ? { window: a.window.size } : {}), rotary,
    }))
    this.activation = { kind: a.mlp.kind, activation: a.mlp.activation, width: own.intermediateSize }
    this.order = a.order
  }

  /**
   * What all layers of a pass over `batch` share. Make one for each batch and pass.
   * @throws ModelError `batch.length`, `batch.prompt`
   */
  context(batch: Batch, options: PassOptions): BlockContext {
    this.refuseLength(Math.max(...batch.lengths))
    const { dtype, architecture, local } = this.parameters, adapter = options.adapter ?? true, prefix = (adapter && this.parameters.adapter?.prefix) || null
    const { rope, scores } = scope(() => {
      const rule = this.blocks.attention.rules ? scoreRule(architecture, local, batch) : null
      return {
        rope: this.rope && this.rope.tables(this.behind(batch, prefix), options.training ?? false),
        scores: rule === null ? scoreBiases(architecture, local, batch, dtype, prefix?.tokens ?? 0) : { full: null, windowed: null, rule },
      }
    })
    return { mode: options.mode, dropout: options.dropout ?? false, adapter, dtype, tokens: batch.tokens, attention: batch.attention, rope, scores, prefix, transientWeights: this.parameters.held !== null }
  }

  /** Token ids → `[N, hidden]`. */
  embed(batch: Batch, context: BlockContext): Tensor {
    return scope(() => {
      const { out } = this.embedding(batch, { ...context, mode: 'infer' })
      return this.blocks.tokens?.own(out) ?? out
    })
  }

  /** Rows of hidden states that this rank holds of a batch. */
  rowsOf(tokens: number): number { return this.blocks.tokens?.rows(tokens) ?? tokens }

  /**
   * Adds the embedding's gradients; `grad` may be overwritten. What stands between the table and the first layer is
   * cheap: it runs again for its records. As in the published implementations a frozen id's row learns nothing from being
   * an input; where it is the end token too, and the head is tied, it still learns as an output.
   */
  embedBackward(grad: Tensor, batch: Batch, context: BlockContext): void {
    this.parameters.adapter?.collect?.()
    const { blocks, parameters } = this, { embedding, positions, embeddingNorm, projectIn, architecture: { embedding: { scale, frozenId } } } = parameters
    if (!this.parameters.share.first) return
    const learns = [embedding, positions, embeddingNorm?.weight, projectIn?.weight, projectIn?.lora?.a].some((weight) => (weight?.grad ?? null) !== null)
    if (!learns) return
    scope(() => {
      const whole = blocks.tokens?.all(grad, batch.tokens) ?? grad
      const { saved } = embeddingNorm === null && projectIn === null ? { saved: { projection: null, norm: null } } : this.embedding(batch, { ...context, mode: 'train' })
      let g = embeddingNorm === null ? whole : blocks.norm.backward(whole, null, saved.norm, embeddingNorm, outside('embeddingNorm'))
      if (positions !== null) addRows(positions, this.positionRows(batch, context), g)
      if (projectIn !== null) g = blocks.linear.backward(g, saved.projection, projectIn, outside('projectIn'))
      if (embedding.grad === null) return
      if (scale !== 1) g = ops.mul(g, scale)
      blocks.embedding.backward(frozenId === null ? g : ops.mul(g, ops.unsqueeze(ops.ne(batch.ids, frozenId), 1)), batch.ids, embedding)
    })
  }

  /**
   * x `[N, hidden]` → the layer's output. x stays as it is.
   * @param first context of the attention half; in `boundary` mode nothing of that half is kept but its output
   */
  layerForward(index: number, x: Tensor, context: BlockContext, first: BlockContext = context): LayerForward {
    this.parameters.hooks?.enter(index)
    return scope(() => {
      const whole = this.decodedLayer(index, x, context)
      if (whole !== null) return { out: whole, saved: null }
      const attention = this.attentionHalf(index, x, first)
      // What a half without records puts out may be planned memory that the next layers write.
      const middle = first === context ? attention.out : ops.clone(attention.out)
      const mlp = this.half(middle, this.norms(index).mlp, context, (input, residual) => this.transform(index, input, residual, context))
      // A norm's output, where it ends the layer, is planned memory too.
      const out = this.order.norm === 'after' ? ops.clone(mlp.out) : mlp.out
      return { out, saved: context.mode === 'train' ? { attention: first.mode === 'train' ? attention.saved : null, mlp: mlp.saved } : null }
    })
  }

  /** Runs a layer's attention half again for its records. */
  attentionAgain(index: number, x: Tensor, context: BlockContext): HalfSaved {
    this.parameters.hooks?.enter(index)
    return scope(() => this.attentionHalf(index, x, context).saved)
  }

  /**
   * Gradient of the layer's output → gradient of its input; weights' gradients are added to theirs. `grad` may be
   * overwritten. `saved` is freed: it serves once, and has both halves by now. `context` is the attention half's.
   */
  layerBackward(index: number, grad: Tensor, saved: LayerSaved, context: BlockContext): Tensor {
    this.parameters.hooks?.enter(index)
    const gradX = scope(() => {
      const norms = this.norms(index)
      const middle = this.halfBackward(grad, saved.mlp, norms.mlp, (g) => this.transformBackward(index, g, saved.mlp.inner))
      return this.halfBackward(middle, saved.attention!, norms.attention, (g) => this.attendBackward(index, g, saved.attention!.inner, context))
    })
    freeAll(saved)
    this.parameters.hooks?.done(index)
    return gradX
  }

  /**
   * Final norm, head and loss at the supervised positions only. `scale` multiplies the gradient (1 / supervised tokens of
   * the whole window), not `lossSum`. With `gradient` the head's and norm's gradients are added to theirs.
   * Targets must not be empty.
   */
  headLoss(x: Tensor, targets: Targets, options: LossOptions): HeadResult {
    if (this.pipe !== null && !options.gradient) return this.sharedLoss(x, targets, options)
    return this.ownLoss(x, targets, options)
  }

  /** The last stage's sums, on all stages. */
  private sharedLoss(x: Tensor, targets: Targets, options: LossOptions): HeadResult {
    return scope(() => {
      const { device } = x, pipe = this.pipe as Pipe
      const { lossSum, correct } = pipe.last ? this.ownLoss(x, targets, options) : { lossSum: ops.zeros([], { dtype: 'float32', device }), correct: ops.zeros([], { dtype: 'int64', device }) }
      pipe.share(lossSum)
      pipe.share(correct)
      return { lossSum, correct, gradX: null }
    })
  }

  private ownLoss(x: Tensor, targets: Targets, options: LossOptions): HeadResult {
    return scope(() => {
      const { blocks, parameters: { finalNorm, projectOut, head } } = this
      const context: BlockContext = { ...options.context, mode: options.gradient ? 'train' : 'infer', tokens: targets.count }
      const all = this.allTokens(x, options.context)
      const { out, saved } = this.toHead(ops.index_select(all, 0, targets.rows), context)
      const { lossSum, correct, gradHidden } = blocks.head.loss(out, targets.labels, head, options)
      if (gradHidden === null) return { lossSum, correct, gradX: null }
      const gradNormed = projectOut === null ? gradHidden : blocks.linear.backward(gradHidden, saved.projection, projectOut, outside('projectOut'))
      const gradRows = finalNorm === null ? gradNormed : blocks.norm.backward(gradNormed, null, saved.norm, finalNorm, outside('finalNorm'))
      const gradX = ops.index_copy_(ops.zeros_like(all), 0, targets.rows, gradRows)
      return { lossSum, correct, gradX: blocks.tokens?.own(gradX) ?? gradX }
    })
  }

  /** fp32 logits `[rows, vocab]` of all of x, or of the rows named (int64 `[S]`). */
  headLogits(x: Tensor, context: BlockContext, rows: Tensor | null = null): Tensor {
    return scope(() => {
      const { pipe } = this, count = rows?.shape[0] ?? context.tokens
      if (pipe !== null && !pipe.last) {
        const logits = ops.empty([count, this.parameters.architecture.vocabSize], { dtype: 'float32', device: x.device })
        pipe.share(logits)
        return logits
      }
      const all = this.allTokens(x, context), chosen = rows === null ? all : ops.index_select(all, 0, rows)
      const logits = this.blocks.head.logits(this.toHead(chosen, { ...context, mode: 'infer', tokens: count }).out, this.parameters.head)
      pipe?.share(logits)
      return logits
    })
  }

  /** All layers without a backward: hidden states `[N, hidden]` before the final norm. On a stage of several, what it hands on. */
  hidden(batch: Batch, context: BlockContext): Tensor {
    return scope(() => {
      const { pipe } = this
      let out: Tensor | null = null
      for (const [c, chunk] of this.chunks.entries()) {
        out?.free()
        let x: Tensor = pipe === null || (pipe.first && c === 0) ? this.embed(batch, context) : pipe.receive(this.rowsOf(batch.tokens))
        for (let i = chunk.start; i < chunk.end; i++) {
          const next: Tensor = this.layerForward(i, x, context).out
          x.free()
          x = next
        }
        if (pipe !== null && !(pipe.last && c === this.chunks.length - 1)) pipe.send(x)
        out = x
      }
      return out as Tensor
    })
  }

  private allTokens(x: Tensor, { tokens }: BlockContext): Tensor { return this.blocks.tokens?.all(x, tokens) ?? x }

  /** After an optimizer step or a load: compute copies follow the masters, packed weights are made again. */
  weightsChanged(): void {
    this.parameters.sync()
    this.blocks.weightsChanged()
  }

  /** Frees what the decoder and its blocks hold; the parameters stay. */
  free(): void { this.rope?.free(); this.blocks.free() }

  private layer(index: number): LayerWeights { return this.parameters.layers[index] }

  /** One more token of each row of a cache, where the blocks run such layers whole. */
  private decodedLayer(index: number, x: Tensor, context: BlockContext): Tensor | null {
    const { blocks: { decode }, order, activation } = this, { attention } = context
    if (decode === undefined || attention.kind !== 'cached' || attention.mask === null) return null
    const w = this.layer(index), of = (linear: LinearWeights): LinearWeights => used(linear, context)
    return decode.forward(x, { ...w, qkv: of(w.qkv), out: of(w.out), up: of(w.up), down: of(w.down), shape: this.shapes[index], activation, order }, index, context)
  }

  /** Table, noise, projection, learned positions, norm: each where the record has it. */
  private embedding(batch: Batch, context: BlockContext): { out: Tensor; saved: { projection: Saved; norm: Saved } } {
    const { blocks, parameters } = this, { embedding, positions, embeddingNorm, projectIn, architecture: { embedding: { scale } } } = parameters
    let x = blocks.embedding.forward(batch.ids, embedding, context), projection: Saved = null, norm: Saved = null
    if (batch.noise !== undefined) x = addNoise(x, batch.noise, batch.attention)
    if (scale !== 1) x = ops.mul(x, scale)
    if (projectIn !== null) ({ out: x, saved: projection } = blocks.linear.forward(x, null, used(projectIn, context), outside('projectIn'), context))
    if (positions !== null) x = ops.add(x, ops.embedding(positions.value, this.positionRows(batch, context)))
    if (embeddingNorm !== null) ({ out: x, saved: norm } = blocks.norm.forward(x, embeddingNorm, outside('embeddingNorm'), context))
    return { out: x, saved: { projection, norm } }
  }

  private positionRows(batch: Batch, { prefix }: BlockContext): Tensor {
    const learned = this.parameters.architecture.positions, { positions } = this.behind(batch, prefix)
    return learned.kind === 'learned' ? ops.add(positions, learned.offset) : positions
  }

  /** The batch where it stands behind a prefix. What is hidden keeps its place before the first position. */
  private behind(batch: Batch, prefix: PrefixWeights | null): Batch {
    if (prefix === null || !this.parameters.architecture.countsPrefix) return batch
    const moved = ops.where(ops.lt(batch.positions, 0), batch.positions, ops.add(batch.positions, prefix.tokens))
    return { ...batch, positions: moved, lengths: batch.lengths.map((length) => length + prefix.tokens) }
  }

  /** Hidden states → what the head multiplies. */
  private toHead(x: Tensor, context: BlockContext): { out: Tensor; saved: { norm: Saved; projection: Saved } } {
    const { blocks, parameters: { finalNorm, projectOut } } = this
    const normed: Forward = finalNorm === null ? { out: x, saved: null } : blocks.norm.forward(x, finalNorm, outside('finalNorm'), context)
    const projected: Forward = projectOut === null ? { out: normed.out, saved: null } : blocks.linear.forward(normed.out, null, used(projectOut, context), outside('projectOut'), context)
    return { out: projected.out, saved: { norm: normed.saved, projection: projected.saved } }
  }

  private norms(index: number): { readonly attention: HalfNorms; readonly mlp: HalfNorms } {
    const w = this.layer(index), at = placesOf(index)
    return {
      attention: { norm: w.inputNorm, place: at('inputNorm'), outer: w.outNorm, outerPlace: at('outNorm') },
      mlp: { norm: w.postNorm, place: at('postNorm'), outer: w.downNorm, outerPlace: at('downNorm') },
    }
  }

  private attentionHalf(index: number, x: Tensor, context: BlockContext): ReturnType<Decoder['half']> {
    return this.half(x, this.norms(index).attention, context, (input, residual) => this.attend(index, input, residual, context))
  }

  /** Half of a layer: norms and what stands between them, joined with the residual as the record says. */
  private half(x: Tensor, { norm, place, outer, outerPlace }: HalfNorms, context: BlockContext, inner: Inner): { out: Tensor; saved: HalfSaved } {
    const { blocks, order } = this
    const scaled = (residual: Tensor): Tensor => (order.scale === 1 ? residual : ops.mul(residual, order.scale))
    if (order.norm === 'after') {
      const inside = inner(x, scaled(x)), normed = blocks.norm.forward(inside.out, norm, place, context)
      return { out: normed.out, saved: { norm: normed.saved, inner: inside.saved, outer: null } }
    }
    const normed = blocks.norm.forward(x, norm, place, context), residual = scaled(order.residual === 'input' ? x : normed.out)
    const inside = inner(normed.out, outer === null ? residual : null)
    if (outer === null) return { out: inside.out, saved: { norm: normed.saved, inner: inside.saved, outer: null } }
    const last = blocks.norm.forward(inside.out, outer, outerPlace, context)
    return { out: ops.add(residual, last.out), saved: { norm: normed.saved, inner: inside.saved, outer: last.saved } }
  }

  private halfBackward(grad: Tensor, saved: HalfSaved, { norm, place, outer, outerPlace }: HalfNorms, inner: (grad: Tensor) => Tensor): Tensor {
    const { blocks, order } = this
    const joined = (gradInner: Tensor, gradOut: Tensor): Tensor => ops.add_(gradInner, gradOut, { alpha: order.scale })
    if (order.norm === 'after') {
      const gradSum = blocks.norm.backward(grad, null, saved.norm, norm, place)
      return joined(inner(gradSum), gradSum)
    }
    const gradNormed = inner(outer === null ? grad : blocks.norm.backward(grad, null, saved.outer, outer, outerPlace))
    if (order.residual === 'normed') return blocks.norm.backward(joined(gradNormed, grad), null, saved.norm, norm, place)
    return blocks.norm.backward(gradNormed, order.scale === 1 ? grad : ops.mul(grad, order.scale), saved.norm, norm, place)
  }

  private attend(index: number, input: Tensor, residual: Tensor | null, context: BlockContext): ReturnType<Inner> {
    const { blocks } = this, w = this.layer(index), shape = this.shapes[index], at = placesOf(index)
    const qkv = blocks.linear.forward(input, null, used(w.qkv, context), at('qkv'), context)
    const normed: Forward = w.queryKeyNorm === null ? { out: qkv.out, saved: null } : blocks.headNorm.forward(qkv.out, w.queryKeyNorm, shape, at('queryKeyNorm'), context)
    const placed = shape.rotary === null ? normed.out : blocks.rotary.forward(normed.out, shape, at('rotary'), context)
    const attention = blocks.attention.forward(placed, shape, at('attention'), context)
    const out = blocks.linear.forward(attention.out, residual, used(w.out, context), at('out'), context)
    return { out: out.out, saved: [qkv.saved, normed.saved, attention.saved, out.saved] }
  }

  private attendBackward(index: number, grad: Tensor, [qkv, normed, attention, out]: readonly Saved[], context: BlockContext): Tensor {
    const { blocks } = this, w = this.layer(index), shape = this.shapes[index], at = placesOf(index)
    const gradAttention = blocks.linear.backward(grad, out, w.out, at('out'))
    const gradPlaced = blocks.attention.backward(gradAttention, attention, shape, at('attention'), context)
    const gradNormed = shape.rotary === null ? gradPlaced : blocks.rotary.backward(gradPlaced, shape, at('rotary'), context)
    const gradQkv = w.queryKeyNorm === null ? gradNormed : blocks.headNorm.backward(gradNormed, normed, w.queryKeyNorm, at('queryKeyNorm'))
    return blocks.linear.backward(gradQkv, qkv, w.qkv, at('qkv'))
  }

  private transform(index: number, input: Tensor, residual: Tensor | null, context: BlockContext): ReturnType<Inner> {
    const { blocks } = this, w = this.layer(index), at = placesOf(index)
    const up = blocks.linear.forward(input, null, used(w.up, context), at('up'), context)
    const activation = blocks.activation.forward(up.out, this.activation, at('activation'), context)
    const down = blocks.linear.forward(activation.out, residual, used(w.down, context), at('down'), context)
    return { out: down.out, saved: [up.saved, activation.saved, down.saved] }
  }

  private transformBackward(index: number, grad: Tensor, [up, activation, down]: readonly Saved[]): Tensor {
    const { blocks } = this, w = this.layer(index), at = placesOf(index)
    const gradActivation = blocks.linear.backward(grad, down, w.down, at('down'))
    const gradUp = blocks.activation.backward(gradActivation, activation, this.activation, at('activation'))
    return blocks.linear.backward(gradUp, up, w.up, at('up'))
  }

  /**
   * A model that learned its positions has none beyond them.
   * @throws ModelError `batch.length`
   */
  refuseLength(longest: number): void {
    const { positions, maxPositions } = this.parameters.architecture, prefix = this.parameters.adapter?.prefix?.tokens ?? 0, room = maxPositions - prefix
    if (positions.kind !== 'learned' || longest <= room) return
    const behind = prefix > 0 ? ` less the ${prefix} of its prefix` : ''
    throw new ModelError('batch.length', `expected at most ${room} tokens in a sequence, the positions that this model has learned${behind}, got ${longest}; shorten prompts and answers (max_length)`, { longest, maxPositions, prefix })
  }
}

const outside = (id: Place['id']): Place => ({ layer: -1, id })
const placesOf = (layer: number) => (id: Place['id']): Place => ({ layer, id })

/** Made at each use: adapters come and go, and merged weights replace others. */
function used(linear: LinearWeights, { adapter }: BlockContext): LinearWeights { return adapter || linear.lora === null ? linear : { ...linear, lora: linear.lora.first ?? null } }
