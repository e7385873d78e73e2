import { ops, type Tensor } from 'fettle-native'
import { joinHeads, splitHeads } from './heads'
import { appendToCache, cachedAttention } from './plain-cached'
import { accumulate, activationInput, record, replay, weightInput } from './recorded'
import type { AttentionBlock, BlockContext, HeadShape, ScoreBias, Weight } from './types'

/** Scaled dot-product attention over each sequence of the batch; fewer key/value heads serve several query heads. */
export const plainAttention: AttentionBlock = {
  forward(qkv, shape, place, context) {
    const { attention } = context, bias = biasOf(shape, context)
    if (attention.kind === 'cached') {
      appendToCache(qkv, shape, attention, place.layer)
      if (attention.mask !== null) return { out: cachedAttention(qkv, shape, attention.cache, bias as Tensor, place.layer), saved: null }
    }
    const past = pastOf(context, place.layer)
    return record([activationInput(qkv), ...past.map(weightInput)], context, ([input, before]) =>
      attention.kind === 'masked' ? attend(input, shape, attention.rows, bias as Tensor, before) : packed(input, shape, attention.offsets, bias, before))
  },
  backward(grad, saved, _shape, place, context) {
    const [gradQkv, ...gradPast] = replay(grad, saved)
    accumulate(pastOf(context, place.layer), gradPast)
    return gradQkv as Tensor
  },
}

/** Keys and values of a layer's prefix, `[tokens, 2, kvHeads, headDim]`; empty where there is none. */
export function pastOf({ prefix }: BlockContext, layer: number): Weight[] {
  if (prefix === null) return []
  const own = (whole: Tensor): Tensor => ops.narrow(whole, 1, 2 * layer, 2)
  const { value, master, grad } = prefix.past
  return [{ value: own(value), master: master && own(master), grad: grad && own(grad) }]
}

/** What a layer of this shape adds to its scores. */
export function biasOf({ windowed }: HeadShape, { scores }: BlockContext): ScoreBias { return windowed ? scores.windowed : scores.full }

function packed(qkv: Tensor, shape: HeadShape, offsets: readonly number[], bias: ScoreBias, before: Tensor | undefined): Tensor {
  const lengths = offsets.slice(1).map((end, i) => end - offsets[i])
  const own = Array.isArray(bias) ? (bias as readonly Tensor[]) : null
  const cut = (length: number): Tensor | null => bias && ops.narrow(ops.narrow(bias as Tensor, 2, 0, length), 3, 0, (before?.shape[0] ?? 0) + length)
  if (own === null && lengths.every((length) => length === lengths[0])) return attend(qkv, shape, lengths.length, cut(lengths[0]), before)
  return ops.cat(ops.split_sizes(qkv, lengths, 0).map((part, i) => attend(part, shape, 1, own === null ? cut(lengths[i]) : own[i], before)))
}

/** Rows of one length; without a bias causal. `before`: keys and values of a prefix, which each row sees as its bias says, without one whole. */
function attend(qkv: Tensor, shape: HeadShape, rows: number, bias: Tensor | null, before: Tensor | undefined): Tensor {
  const [q, ...own] = splitHeads(qkv, shape, rows)
  const [k, v] = before === undefined ? own : own.map((part, i) => ops.cat([ops.expand(ops.transpose(ops.select(before, 1, i), 0, 1), [rows, shape.kvHeads, before.shape[0], shape.headDim]), part], 2))
  const mask = bias ?? (before === undefined ? undefined : behind(qkv.shape[0] / rows, before))
  return joinHeads(ops.scaled_dot_product_attention(q, k, v, mask, 0, mask === undefined, { scale: shape.scale, enableGqa: shape.heads !== shape.kvHeads }))
}

/** Causal behind a prefix: bool `[length, places + length]`. */
function behind(length: number, before: Tensor): Tensor {
  const [places] = before.shape
  return ops.tril(ops.ones([length, places + length], { dtype: 'bool', device: before.device }), places)
}
