import { ops, type Tensor } from 'fettle-native'
import type { MaskedAttention } from '../batch'
import { joinHeads, splitHeads } from './heads'
import { appendToCache, cachedAttention } from './plain-cached'
import { activationInput, record, replay } from './recorded'
import type { AttentionBlock, HeadShape } from './types'

/** Scaled dot-product attention over each sequence of the batch; fewer key/value heads serve several query heads. */
export const plainAttention: AttentionBlock = {
  forward(qkv, shape, place, context) {
    const { attention } = context
    if (attention.kind === 'cached') {
      appendToCache(qkv, shape, attention, place.layer)
      if (attention.mask !== null) return { out: cachedAttention(qkv, shape, attention.cache, attention.mask, place.layer), saved: null }
    }
    return record([activationInput(qkv)], context, ([input]) =>
      attention.kind === 'masked' ? masked(input, shape, attention) : packed(input, shape, attention.offsets))
  },
  backward: (grad, saved) => replay(grad, saved)[0] as Tensor,
}

function packed(qkv: Tensor, shape: HeadShape, offsets: readonly number[]): Tensor {
  const lengths = offsets.slice(1).map((end, i) => end - offsets[i])
  const causal = (part: Tensor, rows: number): Tensor => {
    const [q, k, v] = splitHeads(part, shape, rows)
    return joinHeads(ops.scaled_dot_product_attention(q, k, v, undefined, 0, true, { scale: shape.scale, enableGqa: shape.heads !== shape.kvHeads }))
  }
  if (lengths.every((length) => length === lengths[0])) return causal(qkv, lengths.length)
  return ops.cat(ops.split_sizes(qkv, lengths, 0).map((part) => causal(part, 1)), 0)
}

function masked(qkv: Tensor, shape: HeadShape, { rows, mask }: MaskedAttention): Tensor {
  const [q, k, v] = splitHeads(qkv, shape, rows)
  return joinHeads(ops.scaled_dot_product_attention(q, k, v, additive(mask, q), 0, false, { scale: shape.scale, enableGqa: shape.heads !== shape.kvHeads }))
}

/** A finite lowest value instead of −∞: a padding row that sees nothing gives a mean, not NaN, as the references do. */
function additive(mask: Tensor, like: Tensor): Tensor {
  const lowest = like.dtype === 'float16' ? -65504 : -3.3e38
  return ops.where_scalar(mask, ops.zeros(mask.shape, { dtype: like.dtype, device: like.device }), lowest)
}

