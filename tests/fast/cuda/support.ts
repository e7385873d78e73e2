import { tensor, ops, type DType, type Tensor } from 'fettle-native'
import { cudaBlocks } from 'fettle/dist/models/blocks/cuda'
import { partsOf } from 'fettle/dist/models/blocks/heads'
import type { VarlenAttention, VarlenForward } from 'fettle/dist/models/blocks/cuda-attention'
import type { Blocks, HeadShape } from 'fettle/dist/models/blocks/types'
import { matrix } from '../kernels/support'

/** The blocks for GPUs on the CPU: kernels simulated, attention by formula, each sequence and head by itself. */
export function simulatedBlocks(): Blocks { return cudaBlocks(() => byFormula) }

/** What libtorch's attention of packed sequences computes, written out: softmax(scale · q kᵀ) v of what each token sees. */
export const byFormula: VarlenAttention = {
  forward(q, k, v, { starts }, scale, window): VarlenForward {
    const out = ops.zeros(q.shape, { dtype: q.dtype })
    each(q, k, starts, (rows, head, keyHead) => ops.copy_(rows(out, head), ops.mm(softmax(rows(q, head), rows(k, keyHead), scale, window), rows(v, keyHead))))
    return { out, rest: [] }
  },
  backward(grad, q, k, v, _saved, { starts }, scale, window) {
    const [dq, dk, dv] = [q, k, v].map((x) => ops.zeros(x.shape, { dtype: x.dtype }))
    each(q, k, starts, (rows, head, keyHead) => {
      const p = softmax(rows(q, head), rows(k, keyHead), scale, window), own = rows(grad, head)
      const dp = ops.mm(own, ops.t(rows(v, keyHead)))
      const ds = ops.mul(ops.mul(p, ops.sub(dp, ops.sum_dim(ops.mul(dp, p), [1], true))), scale)
      ops.add_(rows(dv, keyHead), ops.mm(ops.t(p), own))
      ops.copy_(rows(dq, head), ops.mm(ds, rows(k, keyHead)))
      ops.add_(rows(dk, keyHead), ops.mm(ops.t(ds), rows(q, head)))
    })
    return [dq, dk, dv]
  },
}

function each(q: Tensor, k: Tensor, starts: Tensor, visit: (rows: (x: Tensor, head: number) => Tensor, head: number, keyHead: number) => void): void {
  const offsets = starts.toArray() as number[], shared = q.shape[1] / k.shape[1]
  offsets.slice(1).forEach((end, i) => {
    const start = Number(offsets[i]), length = Number(end) - start
    if (length === 0) return
    for (let head = 0; head < q.shape[1]; head++) visit((x, at) => ops.select(ops.narrow(x, 0, start, length), 1, at), head, Math.floor(head / shared))
  })
}

function softmax(q: Tensor, k: Tensor, scale: number, window: number | null): Tensor {
  const [length] = q.shape, distance = ops.sub(ops.view(ops.arange(0, length), [length, 1]), ops.view(ops.arange(0, length), [1, length]))
  const hidden = window === null ? ops.lt(distance, 0) : ops.logical_or(ops.lt(distance, 0), ops.ge(distance, window))
  const scores = ops.masked_fill(ops.mul(ops.to_dtype(ops.mm(q, ops.t(k)), 'float32'), scale), hidden, -Infinity)
  return ops.to_dtype(ops.softmax(scores, 1), q.dtype)
}

/** A joined qkv, its heads, and the sequences that it holds. */
export function packed(offsets: readonly number[], shape: HeadShape, dtype: DType): { q: Tensor; k: Tensor; v: Tensor; qkv: Tensor; starts: Tensor } {
  const tokens = offsets[offsets.length - 1], qkv = ops.to_dtype(matrix([tokens, (shape.heads + 2 * shape.kvHeads) * shape.headDim], 1, 2), dtype), [q, k, v] = partsOf(qkv, shape)
  return { q, k, v, qkv, starts: tensor(Int32Array.from(offsets)) }
}
