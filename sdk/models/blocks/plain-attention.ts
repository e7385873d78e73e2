import { ops, type Tensor } from 'fettle-native'
import { joinHeads, splitHeads } from './heads'
import { appendToCache, cachedAttention } from './plain-cached'
import { activationInput, record, replay } from './recorded'
import type { AttentionBlock, BlockContext, HeadShape, ScoreBias } from './types'

/** Scaled dot-product attention over each sequence of the batch; fewer key/value heads serve several query heads. */
export const plainAttention: AttentionBlock = {
  forward(qkv, shape, place, context) {
    const { attention } = context, bias = biasOf(shape, context)
    if (attention.kind === 'cached') {
      appendToCache(qkv, shape, attention, place.layer)
      if (attention.mask !== null) return { out: cachedAttention(qkv, shape, attention.cache, bias as Tensor, place.layer), saved: null }
    }
    return record([activationInput(qkv)], context, ([input]) =>
      attention.kind === 'masked' ? attend(input, shape, attention.rows, bias as Tensor) : packed(input, shape, attention.offsets, bias))
  },
  backward: (grad, saved) => replay(grad, saved)[0] as Tensor,
}

/** What a layer of this shape adds to its scores. */
export function biasOf({ windowed }: HeadShape, { scores }: BlockContext): ScoreBias { return windowed ? scores.windowed : scores.full }

function packed(qkv: Tensor, shape: HeadShape, offsets: readonly number[], bias: ScoreBias): Tensor {
  const lengths = offsets.slice(1).map((end, i) => end - offsets[i])
  const own = Array.isArray(bias) ? (bias as readonly Tensor[]) : null
  const cut = (length: number): Tensor | null => bias && ops.narrow(ops.narrow(bias as Tensor, 2, 0, length), 3, 0, length)
  if (own === null && lengths.every((length) => length === lengths[0])) return attend(qkv, shape, lengths.length, cut(lengths[0]))
  return ops.cat(ops.split_sizes(qkv, lengths, 0).map((part, i) => attend(part, shape, 1, own === null ? cut(lengths[i]) : own[i])))
}

/** Rows of one length; without a bias causal. */
function attend(qkv: Tensor, shape: HeadShape, rows: number, bias: Tensor | null): Tensor {
  const [q, k, v] = splitHeads(qkv, shape, rows)
  return joinHeads(ops.scaled_dot_product_attention(q, k, v, bias ?? undefined, 0, bias === null, { scale: shape.scale, enableGqa: shape.heads !== shape.kvHeads }))
}
