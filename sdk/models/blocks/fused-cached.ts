import { call, type Tensor } from 'fettle-native'
import type { CachedAttention } from '../batch'
import { biasOf } from './plain-attention'
import type { BlockContext, HeadShape, Place } from './types'

/**
 * One more token of each row over its cache, in one call: its keys and values are appended, and each row's are read as
 * far as it is long. All head layouts, and whatever is added to scores.
 */
export function decode(qkv: Tensor, shape: HeadShape, { cache, lengths }: CachedAttention, place: Place, context: BlockContext, out: Tensor): Tensor {
  const { heads, kvHeads, headDim, scale, layout } = shape, { keys, values } = cache.layer(place.layer)
  call('fettle::decode_attention', '', qkv, keys, values, lengths, addedOf(shape, context), heads, kvHeads, headDim, layout === 'grouped', scale, out)
  return out
}

/** What such a step adds to its scores. A mask without a window says only what the lengths say. */
export function addedOf(shape: HeadShape, context: BlockContext): Tensor | null {
  const bias = biasOf(shape, context) as Tensor
  return bias.dtype === 'bool' && !shape.windowed ? null : bias
}
