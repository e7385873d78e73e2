import { ops, type Tensor } from 'fettle-native'
import { inType } from '../device'
import { accumulate, activationInput, record, replay, weightInput } from './recorded'
import type { NormBlock, NormWeights, Weight } from './types'

/** RMS norm (arXiv 1910.07467) and layer norm, statistics in fp32, rounded before the weight as the published models do. */
export const plainNorm: NormBlock = {
  forward: (x, weights, _place, context) =>
    record([activationInput(x), ...learned(weights).map(weightInput)], context, ([input, weight, bias]) => normalize(input, weight, bias ?? null, weights)),
  backward(grad, residual, saved, weights) {
    const [gradX, ...gradWeights] = replay(grad, saved)
    accumulate(learned(weights), gradWeights)
    return residual === null ? (gradX as Tensor) : ops.add_(residual, gradX as Tensor)
  },
}

function learned({ weight, bias }: NormWeights): Weight[] { return bias === null ? [weight] : [weight, bias] }

function normalize(x: Tensor, weight: Tensor, bias: Tensor | null, { kind, eps }: NormWeights): Tensor {
  if (kind === 'layer') return ops.layer_norm(x, weight.shape, weight, bias ?? undefined, eps)
  const wide = inType(x, 'float32')
  const inverse = ops.rsqrt(ops.add(ops.mean_dim(ops.mul(wide, wide), -1, true), eps))
  return ops.mul(inType(ops.mul(wide, inverse), x.dtype), weight)
}
