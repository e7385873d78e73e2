import { noGrad, ops, type Tensor } from 'fettle-native'
import { rowNorms } from './lora-norms'
import { accumulate, activationInput, record, replay, weightInput } from './recorded'
import type { LinearBlock, LinearWeights, LoraPart, LoraWeights, Weight } from './types'

/** `x Wᵀ + bias`, with LoRA (arXiv 2106.09685) or DoRA on any parts, and the residual added last. */
export const plainLinear: LinearBlock = {
  forward(x, residual, weights, _place, context) {
    const { lora } = weights
    const forward = record([activationInput(x), ...learned(weights).map(weightInput)], context, ([input, ...values]) => {
      const [weight, ...rest] = values
      const bias = weights.bias === null ? null : (rest.shift() as Tensor)
      if (lora === null) return ops.linear(input, weight, bias ?? undefined)
      const dropped = context.dropout && lora.dropout > 0 ? ops.native_dropout(input, lora.dropout, true)[0] : input
      return adapted(input, dropped, weight, bias, lora, rest)
    })
    // In place: no formula above keeps its own result for the backward.
    return residual === null ? forward : { out: noGrad(() => ops.add_(forward.out, residual)), saved: forward.saved }
  },
  backward(grad, saved, weights) {
    const [gradX, ...gradWeights] = replay(grad, saved)
    accumulate(learned(weights), gradWeights)
    return gradX as Tensor
  },
}

/** In the order of `record`'s inputs: weight, bias, A, then B and the magnitude of each part. */
function learned({ weight, bias, lora }: LinearWeights): Weight[] {
  const present = (list: (Weight | null)[]): Weight[] => list.filter((w): w is Weight => w !== null)
  return present([weight, bias, ...(lora === null ? [] : [lora.a, ...lora.parts.flatMap((p) => [p.b, p.magnitude])])])
}

function adapted(x: Tensor, dropped: Tensor, weight: Tensor, bias: Tensor | null, lora: LoraWeights, values: Tensor[]): Tensor {
  const a = values.shift() as Tensor
  const low = ops.linear(dropped, a)
  const base = ops.linear(x, weight)
  const deltas: Tensor[] = []
  let row = 0
  const gap = (end: number): void => { if (end > row) deltas.push(ops.zeros([x.shape[0], end - row], { dtype: x.dtype, device: x.device })) }
  for (const part of lora.parts) {
    const b = values.shift() as Tensor
    const magnitude = part.magnitude === null ? null : (values.shift() as Tensor)
    gap(part.rowStart)
    const update = ops.mul(ops.linear(ops.narrow(low, 1, part.rankStart, part.rank), b), part.scale)
    const matrix = (): Tensor => ops.narrow(weight, 0, part.rowStart, part.rows)
    const product = (): Tensor => (dropped === x ? ops.narrow(base, 1, part.rowStart, part.rows) : ops.linear(dropped, matrix()))
    deltas.push(magnitude === null ? update : directed(update, product(), rowScale(magnitude, matrix(), a, b, part, lora.sumOverColumns)))
    row = part.rowStart + part.rows
  }
  gap(weight.shape[0])
  const sum = ops.add(base, deltas.length === 1 ? deltas[0] : ops.cat(deltas, 1))
  return bias === null ? sum : ops.add(sum, bias)
}

/** DoRA scales the whole product; what it adds to the base product is (g − 1)·Wx + g·update. */
function directed(update: Tensor, product: Tensor, scale: Tensor): Tensor {
  return ops.add(ops.mul(product, ops.sub(scale, 1)), ops.mul(update, scale))
}

/** magnitude / ‖W + s·BA‖ by row; the norm is a constant for the gradient (DoRA, §4.3). */
function rowScale(magnitude: Tensor, weight: Tensor, a: Tensor, b: Tensor, part: LoraPart, sum: LoraWeights['sumOverColumns']): Tensor {
  return ops.div(magnitude, noGrad(() => rowNorms(weight, a, b, part, sum)))
}
