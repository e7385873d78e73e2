import { noGrad, ops, type Tensor } from 'fettle-native'
import type { CachedAttention } from '../batch'
import type { KeyValueCache } from '../cache'
import { joinHeads, partsOf, splitHeads } from './heads'
import type { HeadShape } from './types'

/** Writes the new tokens' keys and values where their rows end. */
export function appendToCache(qkv: Tensor, shape: HeadShape, { cache, slots }: CachedAttention, layer: number): void {
  noGrad(() => {
    const [, keys, values] = partsOf(qkv, shape)
    const stored = cache.layer(layer)
    ops.index_put_(stored.keys, [slots.rows, slots.columns], keys)
    ops.index_put_(stored.values, [slots.rows, slots.columns], values)
  })
}

/** Attention of one new token a row with all of its row: one call for all rows. `bias` ends with the longest row. */
export function cachedAttention(qkv: Tensor, shape: HeadShape, cache: KeyValueCache, bias: Tensor, layer: number): Tensor {
  const { keys, values } = cache.layer(layer)
  const [rows, , , longest] = bias.shape
  const past = (stored: Tensor): Tensor => ops.transpose(ops.narrow(stored, 1, 0, longest), 1, 2)
  return noGrad(() => {
    const [q] = splitHeads(qkv, shape, rows)
    return joinHeads(ops.scaled_dot_product_attention(q, past(keys), past(values), bias, 0, false, { scale: shape.scale, enableGqa: shape.heads !== shape.kvHeads }))
  })
}
