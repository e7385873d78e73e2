import { noGrad, ops, scope, type Tensor } from 'fettle-native'
import { inType } from '../device'
import type { HeadBlock, HeadWeights } from './types'

/** Logits that exist at once: 64 MiB in fp32. */
const logitsBudget = 1 << 24

/** Head and cross-entropy in chunks of rows, with the gradient in the same pass. */
export const plainHead: HeadBlock = {
  loss(hidden, labels, weights, { scale, gradient }) {
    return noGrad(() => {
      const { device } = hidden
      const lossSum = ops.zeros([], { dtype: 'float32', device }), correct = ops.zeros([], { dtype: 'int64', device })
      const gradHidden = gradient ? ops.empty_like(hidden) : null
      const chunk = chunkRows(weights.weight.value.shape[0])
      for (let start = 0; start < hidden.shape[0]; start += chunk) {
        const rows = Math.min(chunk, hidden.shape[0] - start)
        scope(() => {
          const part = ops.narrow(hidden, 0, start, rows), label = ops.unsqueeze(ops.narrow(labels, 0, start, rows), 1)
          const logits = logitsOf(part, weights)
          ops.add_(correct, ops.sum(ops.eq(ops.argmax(logits, 1, true), label)))
          // libtorch's own log-softmax, as references use it: its fast exp is off by up to 2e-5, the same on both sides.
          const logProbabilities = ops.log_softmax(logits, 1)
          ops.sub_(lossSum, ops.sum(ops.gather(logProbabilities, 1, label)))
          if (gradHidden !== null) headGradient(ops.exp_(logProbabilities), label, null, part, ops.narrow(gradHidden, 0, start, rows), weights, scale)
        })
      }
      return { lossSum, correct, gradHidden }
    })
  },
  logits: (hidden, weights) => noGrad(() => logitsOf(hidden, weights)),
}

/** Rows whose logits exist at once. */
export function chunkRows(vocab: number): number { return Math.max(16, Math.min(512, Math.floor(logitsBudget / vocab))) }

/** fp32 `[rows, vocab]`. */
export function logitsOf(hidden: Tensor, { weight }: HeadWeights): Tensor {
  return inType(ops.linear(hidden, weight.value), 'float32')
}

/**
 * d(scale · loss)/d(logits) = scale · (softmax − one-hot), made in the softmax's own memory; from it the gradients of the hidden rows and of the weight.
 * @param mine bool `[rows, 1]`: the label is one of this weight's rows
 */
export function headGradient(gradLogits: Tensor, label: Tensor, mine: Tensor | null, hidden: Tensor, out: Tensor, { weight }: HeadWeights, scale: number): void {
  const ones = ops.full(label.shape, -1, { dtype: 'float32', device: label.device })
  ops.scatter_add_(gradLogits, 1, label, mine === null ? ones : ops.mul(ones, mine))
  ops.mul_(gradLogits, scale)
  const narrowed = inType(gradLogits, hidden.dtype)
  ops.mm_out(out, narrowed, weight.value)
  if (weight.grad === null) return
  if (hidden.dtype === 'float32') ops.addmm_(weight.grad, ops.t(narrowed), hidden)
  else ops.add_(weight.grad, ops.mm(ops.t(narrowed), hidden))
}
