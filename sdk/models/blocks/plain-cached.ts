import { noGrad, ops, tensor, type Tensor } from 'fettle-native'
import type { CachedAttention } from '../batch'
import { inType, onDevice } from '../device'
import { joinHeads, splitHeads } from './plain-attention'
import type { HeadShape } from './types'

/** Writes the new tokens' keys and values where their rows end. */
export function appendToCache(qkv: Tensor, { heads, kvHeads, headDim }: HeadShape, { cache, slots }: CachedAttention, layer: number): void {
  noGrad(() => {
    const [, keys, values] = ops.split_sizes(ops.view(qkv, [qkv.shape[0], heads + 2 * kvHeads, headDim]), [heads, kvHeads, kvHeads], 1)
    const stored = cache.layer(layer)
    ops.index_put_(stored.keys, [slots.rows, slots.columns], keys)
    ops.index_put_(stored.values, [slots.rows, slots.columns], values)
  })
}

/** Attention of tokens that have a past. One new token a row: all rows in one call; else row by row. */
export function cachedAttention(qkv: Tensor, shape: HeadShape, attention: CachedAttention, layer: number): Tensor {
  const { cache, offsets, starts } = attention
  const { keys, values } = cache.layer(layer)
  const rows = starts.length, grouped = shape.heads !== shape.kvHeads
  const past = (stored: Tensor, length: number): Tensor => ops.transpose(ops.narrow(stored, 1, 0, length), 1, 2)
  return noGrad(() => {
    if (attention.mask !== null) {
      const [q] = splitHeads(qkv, shape, rows), longest = attention.mask.shape[3]
      return joinHeads(ops.scaled_dot_product_attention(q, past(keys, longest), past(values, longest), attention.mask, 0, false, { scale: shape.scale, enableGqa: grouped }))
    }
    return ops.cat(starts.map((start, i) => {
      const length = offsets[i + 1] - offsets[i], total = start + length
      const [q] = splitHeads(ops.narrow(qkv, 0, offsets[i], length), shape, 1)
      const row = (stored: Tensor): Tensor => past(ops.narrow(stored, 0, i, 1), total)
      const mask = ops.tril(ops.ones([1, 1, length, total], { dtype: 'bool', device: qkv.device }), start)
      return joinHeads(ops.scaled_dot_product_attention(q, row(keys), row(values), mask, 0, false, { scale: shape.scale, enableGqa: grouped }))
    }), 0)
  })
}

/** One call serves a step of one new token for each row: what each row sees, bool `[rows, 1, 1, longest]`. */
export function decodeMask(starts: readonly number[], device: string): Tensor {
  const longest = Math.max(...starts) + 1
  const seen = new Uint8Array(starts.length * longest)
  starts.forEach((start, i) => seen.fill(1, i * longest, i * longest + start + 1))
  return onDevice(inType(tensor(seen, [starts.length, 1, 1, longest]), 'bool'), device)
}
