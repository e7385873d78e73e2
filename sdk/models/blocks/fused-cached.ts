import { call, type Tensor } from 'fettle-native'
import type { CachedAttention } from '../batch'
import { biasOf } from './plain-attention'
import type { BlockContext, HeadShape, Place } from './types'

/**
 * One more token of each row over its cache, in one call: its keys and values are appended, and each row's are read as
 * far as it is long. All head layouts, and whatever is added to scores.
 */
export function decode(qkv: Tensor, shape: HeadShape, { cache, lengths }: CachedAttention, place: Place, context: BlockContext, out: Tensor): Tensor {
  const { heads, kvHeads, headDim, scale, layout, windowed } = shape, { keys, values } = cache.layer(place.layer)
  const bias = biasOf(shape, context) as Tensor
  // A mask says what the lengths say, but for a window.
  const added = bias.dtype === 'bool' && !windowed ? null : bias
  call('fettle::decode_attention', '', qkv, keys, values, lengths, added, heads, kvHeads, headDim, layout === 'grouped', scale, out)
  return out
}
