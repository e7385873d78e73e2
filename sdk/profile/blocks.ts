import type { Tensor } from 'fettle-native'
import type { AttentionBlock, BlockContext, Blocks, BlockId, EmbeddingBlock, Forward, HeadBlock, HeadNormBlock, LinearBlock, LinearWeights, NormBlock, Place, RotaryBlock, ActivationBlock, Saved } from '../models/blocks/types'
import { attentionFlops, headFlops, linearFlops } from './flops'
import type { Recorder } from './recorder'
import type { ProfilePass } from './types'

/**
 * The same blocks, each call of which is recorded: by layer, block and way, with its shapes and the operations of its matrix products.
 * Made for a profile and taken away behind it; whatever else the blocks have passes through.
 */
export function recordedBlocks(blocks: Blocks, recorder: Recorder): Blocks {
  const { norm, headNorm, rotary, activation } = blocks
  return {
    ...blocks,
    embedding: embedding(blocks, recorder), linear: linear(blocks, recorder), attention: attention(blocks, recorder), head: head(blocks, recorder),
    norm: {
      forward: (x, weights, place, context) => forward(recorder, place, context, 0, () => shape(x), () => norm.forward(x, weights, place, context)),
      backward: (grad, residual, saved, weights, place) => backward(recorder, place, saved, 0, () => shape(grad), () => norm.backward(grad, residual, saved, weights, place)),
    } satisfies NormBlock,
    headNorm: {
      forward: (qkv, weights, heads, place, context) => forward(recorder, place, context, 0, () => shape(qkv), () => headNorm.forward(qkv, weights, heads, place, context)),
      backward: (grad, saved, weights, place) => backward(recorder, place, saved, 0, () => shape(grad), () => headNorm.backward(grad, saved, weights, place)),
    } satisfies HeadNormBlock,
    rotary: {
      forward: (qkv, heads, place, context) => run(recorder, place, way(context), 0, () => shape(qkv), () => rotary.forward(qkv, heads, place, context)),
      backward: (grad, heads, place, context) => run(recorder, place, 'backward', 0, () => shape(grad), () => rotary.backward(grad, heads, place, context)),
    } satisfies RotaryBlock,
    activation: {
      forward: (x, what, place, context) => forward(recorder, place, context, 0, () => shape(x, what.width), () => activation.forward(x, what, place, context)),
      backward: (grad, saved, what, place) => backward(recorder, place, saved, 0, () => shape(grad), () => activation.backward(grad, saved, what, place)),
    } satisfies ActivationBlock,
  }
}

function embedding({ embedding: block }: Blocks, recorder: Recorder): EmbeddingBlock {
  const place: Place = { layer: -1, id: 'embedding' }
  return {
    forward: (ids, weight, context) => run(recorder, place, 'forward', 0, () => `${ids.shape[0]} → ${weight.value.shape[1]}`, () => block.forward(ids, weight, context)),
    backward: (grad, ids, weight) => run(recorder, place, 'backward', 0, () => shape(grad), () => block.backward(grad, ids, weight)),
  }
}

function linear({ linear: block, tokens }: Blocks, recorder: Recorder): LinearBlock {
  // Where ranks divide the tokens, the gradient's rows may be a part of those that are multiplied.
  const rowsOf = new WeakMap<object, number>()
  return {
    forward(x, residual, weights, place, context) {
      const rows = tokens === undefined ? x.shape[0] : context.tokens
      const made = forward(recorder, place, context, linearFlops(weights, rows, 'forward'), () => product(weights, rows), () => block.forward(x, residual, weights, place, context))
      if (made.saved !== null) rowsOf.set(made.saved, rows)
      return made
    },
    backward(grad: Tensor, saved: Saved, weights: LinearWeights, place: Place): Tensor {
      const rows = (saved === null ? undefined : rowsOf.get(saved)) ?? grad.shape[0]
      return backward(recorder, place, saved, linearFlops(weights, rows, 'backward'), () => product(weights, rows), () => block.backward(grad, saved, weights, place))
    },
  }
}

function attention({ attention: block }: Blocks, recorder: Recorder): AttentionBlock {
  const heads = (qkv: Tensor, { heads: q, kvHeads, headDim }: Parameters<AttentionBlock['forward']>[1], { attention: rows }: BlockContext): string =>
    `${qkv.shape[0]} × ${q} heads of ${headDim}${q === kvHeads ? '' : `, ${kvHeads} of keys`}, ${rows.kind === 'masked' ? rows.rows : rows.offsets.length - 1} sequences`
  return {
    forward: (qkv, what, place, context) => forward(recorder, place, context, attentionFlops(what, context, 'forward'), () => heads(qkv, what, context), () => block.forward(qkv, what, place, context)),
    backward: (grad, saved, what, place, context) => backward(recorder, place, saved, attentionFlops(what, context, 'backward'), () => heads(grad, what, context), () => block.backward(grad, saved, what, place, context)),
  }
}

function head({ head: block }: Blocks, recorder: Recorder): HeadBlock {
  const place: Place = { layer: -1, id: 'head' }
  return {
    loss: (hidden, labels, weights, options) => run(recorder, place, 'forward', headFlops(weights, hidden.shape[0], options.gradient), () => `${shape(hidden)} → ${weights.weight.value.shape[0]}`, () => block.loss(hidden, labels, weights, options)),
    logits: (hidden, weights) => run(recorder, place, 'forward', headFlops(weights, hidden.shape[0], false), () => `${shape(hidden)} → ${weights.weight.value.shape[0]}`, () => block.logits(hidden, weights)),
  }
}

/** A forward whose record is kept for a backward. */
function forward(recorder: Recorder, place: Place, context: BlockContext, flops: number, describe: () => string, block: () => Forward): Forward {
  const made = run(recorder, place, way(context), flops, describe, block)
  recorder.kept.add(made.saved)
  return made
}

/** A backward, behind which its record is gone. */
function backward(recorder: Recorder, place: Place, saved: Saved, flops: number, describe: () => string, block: () => Tensor): Tensor {
  const grad = run(recorder, place, 'backward', flops, describe, block)
  recorder.kept.remove(saved)
  return grad
}

function run<T>(recorder: Recorder, { layer, id }: { readonly layer: number; readonly id: BlockId }, pass: ProfilePass, flops: number, describe: () => string, block: () => T): T {
  // Before it runs: a block may free or overwrite what it was given.
  const text = describe(), mark = recorder.begin(), result = block()
  recorder.end(mark, { kind: 'block', name: id, layer, pass, flops, shape: text })
  return result
}

function way({ again }: BlockContext): ProfilePass { return again === true ? 'recompute' : 'forward' }
function shape(x: Tensor, out?: number): string { return `${x.shape.join(' × ')}${out === undefined ? '' : ` → ${out}`}` }

function product({ inFeatures, outFeatures, lora }: LinearWeights, rows: number): string {
  const ranks = lora?.parts.reduce((sum, { rank }) => sum + rank, 0)
  return `${rows} × ${inFeatures} → ${outFeatures}${ranks === undefined ? '' : `, LoRA ${ranks}`}`
}
