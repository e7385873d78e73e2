import { ops, type Tensor } from 'fettle-native'
import { plainLinear } from './plain-linear'
import type { BlockContext, LinearBlock, LinearWeights, LoraWeights, Saved } from './types'

/** What the backward reads: the input, the adapter's inner activations `[N, ranks]` and which inputs it did not drop; or the plain form's record. */
type LinearSaved = { readonly x: Tensor; readonly low: Tensor | null; readonly kept: Tensor | null } | { readonly plain: Saved }

/**
 * `x Wᵀ` with bias, residual and LoRA as products that add into one result, and a backward without a graph: the residual and
 * the adapter's part cost no pass of their own. DoRA scales whole products and runs in the plain form.
 */
export const cudaLinear: LinearBlock = {
  forward(x, residual, weights, place, context) {
    const { weight, bias, lora } = weights
    if (lora !== null && lora.parts.some(({ magnitude }) => magnitude !== null)) {
      const { out, saved } = plainLinear.forward(x, residual, weights, place, context)
      return { out, saved: saved && { plain: saved } }
    }
    const first = residual ?? bias?.value ?? null, transposed = ops.t(weight.value)
    const out = first === null ? ops.mm(x, transposed) : ops.addmm(first, x, transposed)
    if (residual !== null && bias !== null) ops.add_(out, bias.value)
    const adapter = lora === null ? { low: null, kept: null } : adapt(out, x, lora, context)
    const saved: LinearSaved | null = context.mode === 'train' ? { x: ops.alias(x), ...adapter } : null
    return { out, saved }
  },
  backward(grad, saved, weights, place) {
    const record = saved as LinearSaved
    if ('plain' in record) return plainLinear.backward(grad, record.plain, weights, place)
    const { weight, bias, lora } = weights
    if (weight.grad !== null) addProduct(weight.grad, grad, record.x, 1)
    if (bias !== null && bias.grad !== null) ops.add_(bias.grad, ops.sum_dim(grad, 0, false, { dtype: 'float32' }))
    const out = ops.mm(grad, weight.value)
    if (lora !== null) adaptBack(out, grad, record, lora)
    return out
  },
}

/** Adds the adapter's part to `out`. */
function adapt(out: Tensor, x: Tensor, lora: LoraWeights, context: BlockContext): { low: Tensor; kept: Tensor | null } {
  const [seen, kept] = context.dropout && lora.dropout > 0 ? ops.native_dropout(x, lora.dropout, true) : [x, null]
  const low = ops.mm(seen, ops.t(lora.a.value))
  for (const { rowStart, rows, rankStart, rank, scale, b } of lora.parts) ops.addmm_(ops.narrow(out, 1, rowStart, rows), ops.narrow(low, 1, rankStart, rank), ops.t(b.value), { alpha: scale })
  return { low, kept }
}

/** Adds the adapter's part to the gradient of x, and the gradients of its own matrices. */
function adaptBack(out: Tensor, grad: Tensor, { x, low, kept }: Exclude<LinearSaved, { plain: Saved }>, lora: LoraWeights): void {
  const gradLow = ops.empty_like(low!), factor = 1 / (1 - lora.dropout)
  for (const { rowStart, rows, rankStart, rank, scale, b } of lora.parts) {
    const own = ops.narrow(grad, 1, rowStart, rows)
    ops.addmm_(ops.narrow(gradLow, 1, rankStart, rank), own, b.value, { beta: 0, alpha: scale })
    if (b.grad !== null) addProduct(b.grad, own, ops.narrow(low!, 1, rankStart, rank), scale)
  }
  if (lora.a.grad !== null) addProduct(lora.a.grad, gradLow, kept === null ? x : ops.native_dropout_backward(x, kept, factor), 1)
  if (kept === null) ops.addmm_(out, gradLow, lora.a.value)
  else ops.add_(out, ops.native_dropout_backward(ops.mm(gradLow, lora.a.value), kept, factor))
}

/** sum (fp32) += scale · leftᵀ right. Products of halves are rounded once before they are added. */
function addProduct(sum: Tensor, left: Tensor, right: Tensor, scale: number): void {
  if (left.dtype === 'float32') ops.addmm_(sum, ops.t(left), right, { alpha: scale })
  else ops.add_(sum, ops.mm(ops.t(left), right), { alpha: scale })
}
