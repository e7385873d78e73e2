import { ops, type Tensor } from 'fettle-native'
import { inType } from '../device'
import { accumulate, activationInput, record, replay, weightInput } from './recorded'
import type { NormBlock, NormWeights, Weight } from './types'

/** RMS norm (arXiv 1910.07467) and layer norm, statistics in fp32, rounded before the weight as the published models do. */
export const plainNorm: NormBlock = {
  forward: (x, weights, _place, context) =>
    record([activationInput(x), ...learnedOf(weights).map(weightInput)], context, ([input, ...values]) => normalize(input, values, weights)),
  backward(grad, residual, saved, weights) {
    const [gradX, ...gradWeights] = replay(grad, saved)
    accumulate(learnedOf(weights), gradWeights)
    return residual === null ? (gradX as Tensor) : ops.add_(residual, gradX as Tensor)
  },
}

/** In the order of `normalize`'s values. */
export function learnedOf({ weight, bias }: NormWeights): Weight[] { return bias === null ? [weight] : [weight, bias] }

/** The norm over the last dimension. */
export function normalize(x: Tensor, [weight, bias]: readonly Tensor[], { kind, eps, offset }: Pick<NormWeights, 'kind' | 'eps' | 'offset'>): Tensor {
  if (kind === 'layer') return ops.layer_norm(x, weight.shape, weight, bias, eps)
  const wide = inType(x, 'float32')
  const inverse = ops.rsqrt(ops.add(ops.mean_dim(ops.mul(wide, wide), -1, true), eps))
  const normed = ops.mul(wide, inverse)
  // Models whose factor is 1 + weight multiply before they round.
  if (offset !== 0) return inType(ops.mul(normed, ops.add(inType(weight, 'float32'), offset)), x.dtype)
  return ops.mul(inType(normed, x.dtype), weight)
}
