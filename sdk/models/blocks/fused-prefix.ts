import { call, ops, type Tensor } from 'fettle-native'
import { accumulate } from './recorded'
import { pastOf } from './plain-attention'
import type { BlockContext, Forward, HeadShape, Place } from './types'

/** What the backward reads: the sequences with their prefix as rows of their own. */
interface PrefixSaved { readonly behind: { readonly qkv: Tensor; readonly out: Tensor; readonly logSumExp: Tensor; readonly offsets: readonly number[] } }

export function isPrefixSaved(saved: object): saved is PrefixSaved { return 'behind' in saved }

/**
 * Causal attention behind a prefix by the kernel that knows only causal sequences: the prefix becomes rows in front of each
 * sequence, with keys, values and a query of zeros whose answer is dropped. No mask of tokens times keys exists.
 */
export function forwardBehind(qkv: Tensor, offsets: readonly number[], { heads, kvHeads, headDim, scale }: HeadShape, place: Place, context: BlockContext): Forward {
  const [{ value }] = pastOf(context, place.layer), places = value.shape[0]
  const front = ops.cat([ops.zeros([places, heads * headDim], { dtype: qkv.dtype, device: qkv.device }), ops.reshape(value, [places, 2 * kvHeads * headDim])], 1)
  const all = interleave(front, qkv, offsets), behind = offsets.map((offset, i) => offset + i * places), rows = all.shape[0]
  const out = ops.zeros([rows, heads * headDim], { dtype: qkv.dtype, device: qkv.device }), logSumExp = ops.zeros([rows, heads], { dtype: 'float32', device: qkv.device })
  call('fettle::attention_forward', '', all, behind, heads, kvHeads, headDim, scale, out, logSumExp)
  const saved: PrefixSaved | null = context.mode === 'train' ? { behind: { qkv: all, out, logSumExp, offsets: behind } } : null
  return { out: tokensOf(out, offsets, places), saved }
}

/** Gradient of the joined qkv; that of the prefix, of all sequences together, is added to its own. */
export function backwardBehind(grad: Tensor, { behind }: PrefixSaved, offsets: readonly number[], { heads, kvHeads, headDim, scale }: HeadShape, place: Place, context: BlockContext): Tensor {
  const [past] = pastOf(context, place.layer), places = past.value.shape[0], width = heads * headDim
  const nothing = ops.zeros([places, width], { dtype: grad.dtype, device: grad.device })
  const all = ops.zeros(behind.qkv.shape, { dtype: grad.dtype, device: grad.device })
  call('fettle::attention_backward', '', interleave(nothing, grad, offsets), behind.qkv, behind.out, behind.logSumExp, behind.offsets, heads, kvHeads, headDim, scale, all)
  for (const start of behind.offsets.slice(0, -1)) {
    accumulate([past], [ops.reshape(ops.narrow(ops.narrow(all, 0, start, places), 1, width, 2 * kvHeads * headDim), [places, 2, kvHeads, headDim])])
  }
  return tokensOf(all, offsets, places)
}

function interleave(front: Tensor, rows: Tensor, offsets: readonly number[]): Tensor {
  return ops.cat(offsets.slice(1).flatMap((end, i) => [front, ops.narrow(rows, 0, offsets[i], end - offsets[i])]))
}

function tokensOf(all: Tensor, offsets: readonly number[], places: number): Tensor {
  return ops.cat(offsets.slice(1).map((end, i) => ops.narrow(all, 0, offsets[i] + (i + 1) * places, end - offsets[i])))
}
