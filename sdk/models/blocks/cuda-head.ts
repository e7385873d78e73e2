import { call, noGrad, ops, scope, type Tensor } from 'fettle-native'
import { plainHead } from './plain-head'
import type { HeadBlock } from './types'

/** Memory of the logits that exist at once, in bytes. */
const panelBytes = 128 << 20

/** Head and loss in panels of rows whose logits share one buffer; the gradient is made in the logits' own memory. Nothing waits for the device. */
export const cudaHead: HeadBlock = {
  loss: (hidden, labels, { weight }, { scale, gradient }) => noGrad(() => scope(() => {
    const { device, dtype } = hidden, [rows] = hidden.shape, [vocabulary] = weight.value.shape
    const panel = ops.empty([Math.min(rows, panelRows(vocabulary, dtype === 'float32' ? 4 : 2)), vocabulary], { dtype, device })
    const losses = ops.empty([rows], { dtype: 'float32', device }), hits = ops.empty([rows], { dtype: 'float32', device }), factor = ops.full([1], scale, { dtype: 'float32', device })
    const gradHidden = gradient ? ops.empty_like(hidden) : null, transposed = ops.t(weight.value)
    const part = (whole: Tensor, start: number, count: number): Tensor => ops.narrow(whole, 0, start, count)
    for (let start = 0; start < rows; start += panel.shape[0]) scope(() => {
      const count = Math.min(panel.shape[0], rows - start), logits = part(panel, 0, count), own = part(hidden, start, count)
      ops.mm_out(logits, own, transposed)
      call('fettle_cuda::head_loss', '', logits, part(labels, start, count), factor, part(losses, start, count), part(hits, start, count), gradient)
      if (gradHidden === null) return
      ops.mm_out(part(gradHidden, start, count), logits, weight.value)
      if (weight.grad === null) return
      if (dtype === 'float32') ops.addmm_(weight.grad, ops.t(logits), own)
      else ops.add_(weight.grad, ops.mm(ops.t(logits), own))
    })
    return { lossSum: ops.sum(losses), correct: ops.to_dtype(ops.sum(hits), 'int64'), gradHidden }
  })),
  logits: plainHead.logits,
}

function panelRows(vocabulary: number, size: number): number { return Math.max(16, Math.floor(panelBytes / (vocabulary * size))) }
