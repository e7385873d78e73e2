import { noGrad, ops, type Tensor } from 'fettle-native'
import { inType } from '../device'
import { plainBlocks } from './plain'
import type { AttentionBlock, BlockContext, Blocks, Forward, HeadBlock, LinearBlock, LinearWeights, ScoreBias, Weight } from './types'

const half = 'float16'

/**
 * fp16 at level O1: weights and what flows between blocks stay fp32; products of matrices (linear layers, attention, the
 * head) take halves and give halves, as the reference's list of operators says. Norms, rotary positions, activations,
 * residual sums and the loss are fp32. Weights are rounded at each use. Attention over a cache stays fp32, which is what
 * the cache holds.
 */
export function autocastBlocks(): Blocks {
  const plain = plainBlocks()
  return { ...plain, form: 'plain', linear: linear(plain.linear), attention: attention(plain.attention), head: head(plain.head) }
}

const wide = (x: Tensor): Tensor => noGrad(() => inType(x, 'float32'))
const rounded = (x: Tensor): Tensor => noGrad(() => inType(x, half))
const roundedWeight = (weight: Weight): Weight => ({ ...weight, value: rounded(weight.value) })
const widened = ({ out, saved }: Forward): Forward => ({ out: wide(out), saved })

function linear(plain: LinearBlock): LinearBlock {
  return {
    forward(x, residual, weights, place, context) {
      const { out, saved } = widened(plain.forward(rounded(x), null, roundedLinear(weights), place, context))
      return { out: residual === null ? out : noGrad(() => ops.add_(out, residual)), saved }
    },
    backward: (grad, saved, weights, place) => wide(plain.backward(rounded(grad), saved, weights, place)),
  }
}

function roundedLinear(weights: LinearWeights): LinearWeights {
  const { weight, bias, lora } = weights
  return {
    ...weights, weight: roundedWeight(weight), bias: bias && roundedWeight(bias),
    lora: lora && { ...lora, a: roundedWeight(lora.a), parts: lora.parts.map((part) => ({ ...part, b: roundedWeight(part.b), magnitude: part.magnitude && roundedWeight(part.magnitude) })) },
  }
}

function attention(plain: AttentionBlock): AttentionBlock {
  return {
    forward: (qkv, shape, place, context) => context.attention.kind === 'cached'
      ? plain.forward(qkv, shape, place, context)
      : widened(plain.forward(rounded(qkv), shape, place, roundedContext(context))),
    backward: (grad, saved, shape, place, context) => wide(plain.backward(rounded(grad), saved, shape, place, context)),
  }
}

function roundedContext(context: BlockContext): BlockContext {
  const { scores: { full, windowed }, prefix } = context
  return { ...context, dtype: half, scores: { full: roundedBias(full), windowed: roundedBias(windowed) }, prefix: prefix && { ...prefix, past: roundedWeight(prefix.past) } }
}

/** A mask of bools stays one. */
function roundedBias(bias: ScoreBias): ScoreBias {
  const one = (x: Tensor): Tensor => (x.dtype === 'bool' ? x : rounded(x))
  return bias === null ? null : Array.isArray(bias) ? (bias as readonly Tensor[]).map(one) : one(bias as Tensor)
}

function head(plain: HeadBlock): HeadBlock {
  return {
    loss(hidden, labels, weights, options) {
      const { gradHidden, ...sums } = plain.loss(rounded(hidden), labels, { weight: roundedWeight(weights.weight) }, options)
      return { ...sums, gradHidden: gradHidden && wide(gradHidden) }
    },
    logits: (hidden, weights) => plain.logits(rounded(hidden), { weight: roundedWeight(weights.weight) }),
  }
}
