import { ops, type Tensor } from 'fettle-native'
import type { HeadShape } from './types'

/** Queries, keys, values `[rows, heads, length, headDim]` of rows of one length. */
export function splitHeads(qkv: Tensor, { heads, kvHeads, headDim }: HeadShape, rows: number): Tensor[] {
  const length = qkv.shape[0] / rows
  return ops.split_sizes(ops.view(qkv, [rows, length, heads + 2 * kvHeads, headDim]), [heads, kvHeads, kvHeads], 2).map((t) => ops.transpose(t, 1, 2))
}

/** `[rows, heads, length, headDim]` → `[rows · length, heads · headDim]` */
export function joinHeads(out: Tensor): Tensor {
  const [rows, heads, length, headDim] = out.shape
  return ops.reshape(ops.transpose(out, 1, 2), [rows * length, heads * headDim])
}
