import { getRngState, noGrad, scope, setRngState, type Tensor } from 'fettle-native'
import type { Batch } from '../models/batch'
import type { BlockContext } from '../models/blocks/types'
import type { Decoder, LayerSaved } from '../models/decoder'
import type { LayerRange } from '../models/share'

/** What the backward runs again: nothing, whole layers, or their attention halves. */
export type Recompute = boolean | 'attention'

/** Where a walk stands: after the embedding, after a layer's forward or backward, after the head. */
export type WalkPoint = { readonly phase: 'embed' | 'forward' | 'head' | 'backward'; readonly layer: number }

/** How a walk runs, and the factor on its gradient. */
export interface WalkOptions {
  /** Factor on the gradient: 1 / supervised tokens of the whole accumulation window, so that micro-batches simply add up. */
  readonly scale: number
  /**
   * `true`: keep only each layer's input and run its forward again before its backward: memory of one layer, a third more
   * time. `attention`: likewise with each layer's attention half alone; the records of the other half are kept.
   */
  readonly recompute?: Recompute
  /** Adapter dropout is on. */
  readonly dropout?: boolean
  /** What a model does in inference alone (see `PassOptions`) stays off. */
  readonly training?: boolean
  /** Called at every boundary, where memory is measured. */
  readonly onPoint?: (point: WalkPoint) => void
}

/** Sums over the supervised positions of one micro-batch; scalars on the device. They belong to the caller's scope. */
export interface WalkResult { readonly lossSum: Tensor; readonly correct: Tensor }

/** What the backward needs of a layer: its records, or with recompute only where its randomness stood. */
export interface Step { readonly input: Tensor; readonly saved: LayerSaved | null; readonly rng: Uint8Array | null }

/** How one micro-batch goes through layers: forward, the attention halves of the forward, and what the backward runs again. */
export interface Passage { readonly context: BlockContext; readonly first: BlockContext; readonly again: BlockContext; readonly onPoint: WalkOptions['onPoint'] }

/**
 * One micro-batch forward and backward; gradients are added to the trainable weights' own. The batch must hold at least
 * one supervised position.
 *
 * This is how Fettle trains. No graph spans two layers: each layer hands on one tensor of hidden states `[N, hidden]`
 * and, on the way back, one gradient of the same shape. What spreads training over ranks attaches to these hand-overs:
 * a pipeline stage (parallel/pipeline/pipeline.ts) walks its own stretches of layers, receiving `x` where `embed` stands and sending
 * it where the head stands; gathered weights (sharding stage 3) are asked for one layer ahead, and gradients of a
 * layer are final as soon as its `layerBackward` returns, so that their reduction starts there (`LayerHooks`).
 */
export function walk(decoder: Decoder, batch: Batch, options: WalkOptions): WalkResult {
  return noGrad(() => scope(() => {
    const passage = passageOf(decoder, batch, options), { context } = passage, [layers] = decoder.chunks
    const embedded = decoder.embed(batch, context)
    options.onPoint?.({ phase: 'embed', layer: -1 })
    const { steps, x } = forwardThrough(decoder, layers, embedded, passage)
    const head = decoder.headLoss(x, batch.targets!, { scale: options.scale, gradient: true, context })
    options.onPoint?.({ phase: 'head', layer: layers.end })
    const grad = backwardThrough(decoder, layers, head.gradX!, steps, passage)
    decoder.embedBackward(grad, batch, context)
    return { lossSum: head.lossSum, correct: head.correct }
  }))
}

/** @param slot which of the micro-batches that are between forward and backward at once */
export function passageOf(decoder: Decoder, batch: Batch, options: WalkOptions, slot?: number): Passage {
  const made = decoder.context(batch, { mode: options.recompute === true ? 'boundary' : 'train', dropout: options.dropout, training: options.training })
  const context: BlockContext = slot === undefined ? made : { ...made, slot }
  const first: BlockContext = options.recompute === 'attention' ? { ...context, mode: 'boundary' } : context
  return { context, first, again: options.recompute ? { ...first, mode: 'train', again: true } : context, onPoint: options.onPoint }
}

/** Layers in order. Every layer's input stays: with recompute of whole layers it is all that stays. */
export function forwardThrough(decoder: Decoder, { start, end }: LayerRange, input: Tensor, { context, first, onPoint }: Passage): { steps: Step[]; x: Tensor } {
  const steps: Step[] = []
  let x = input
  for (let layer = start; layer < end; layer++) {
    const rng = first.mode === 'boundary' && first.dropout ? getRngState(decoder.parameters.device) : null
    const { out, saved } = decoder.layerForward(layer, x, context, first)
    steps.push({ input: x, saved, rng })
    x = out
    onPoint?.({ phase: 'forward', layer })
  }
  return { steps, x }
}

/** Layers in reverse. A layer's records and input are freed as soon as its gradient is out. */
export function backwardThrough(decoder: Decoder, { start, end }: LayerRange, gradX: Tensor, steps: readonly Step[], { again, onPoint }: Passage): Tensor {
  let grad = gradX
  for (let layer = end - 1; layer >= start; layer--) {
    const step = steps[layer - start]
    const gradInput = decoder.layerBackward(layer, grad, whole(decoder, layer, step, again), again)
    if (grad !== gradInput) grad.free()
    step.input.free()
    grad = gradInput
    onPoint?.({ phase: 'backward', layer })
  }
  return grad
}

/** A layer's records; those that were not kept are made again, with the dropout that the first run drew. */
function whole(decoder: Decoder, layer: number, { input, saved, rng }: Step, context: BlockContext): LayerSaved {
  if (saved !== null && saved.attention !== null) return saved
  const run = (): LayerSaved => saved === null ? decoder.layerForward(layer, input, context).saved! : { ...saved, attention: decoder.attentionAgain(layer, input, context) }
  if (rng === null) return run()
  const { device } = decoder.parameters, now = getRngState(device)
  setRngState(rng, device)
  const records = run()
  setRngState(now, device)
  return records
}
