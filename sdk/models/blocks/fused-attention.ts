import { call, ops, type Tensor } from 'fettle-native'
import type { PackedAttention } from '../batch'
import { decode } from './fused-cached'
import { backwardBehind, forwardBehind, isPrefixSaved } from './fused-prefix'
import { appendToCache } from './plain-cached'
import { biasOf, plainAttention } from './plain-attention'
import type { AttentionBlock, Saved } from './types'
import type { Workspace } from './fused-workspace'

type AttentionSaved =
  | { readonly qkv: Tensor; readonly out: Tensor; readonly logSumExp: Tensor; readonly offsets: readonly number[] }
  | { readonly plain: Saved }

/**
 * Causal attention of packed rows, each sequence by itself, be they the first of a cache; and one more token of each row of a cache. Elsewhere masked
 * attention, biases (ALiBi, windows, prompts) and grouped heads run in the plain form.
 */
export function fusedAttention(workspace: Workspace): AttentionBlock {
  return {
    forward(qkv, shape, place, context) {
      const { attention } = context, { heads, kvHeads, headDim, scale } = shape
      if (attention.kind === 'cached' && attention.mask !== null) {
        workspace.enter(context)
        return { out: decode(qkv, shape, attention, place, context, workspace.saved(place, context, 'out', qkv.shape[0], heads * headDim, qkv.dtype)), saved: null }
      }
      if (attention.kind === 'masked' || biasOf(shape, context) !== null || shape.layout !== 'separate') {
        const { out, saved } = plainAttention.forward(qkv, shape, place, context)
        return { out, saved: saved && { plain: saved } }
      }
      if (attention.kind === 'cached') appendToCache(qkv, shape, attention, place.layer)
      if (context.prefix !== null) return forwardBehind(qkv, attention.offsets, shape, place, context)
      workspace.enter(context)
      const rows = qkv.shape[0]
      const out = workspace.saved(place, context, 'out', rows, heads * headDim, qkv.dtype)
      // Kept as [heads, rows]; the buffer only has to hold as many numbers.
      const logSumExp = workspace.saved(place, context, 'logSumExp', rows, heads, 'float32')
      call('fettle::attention_forward', '', qkv, attention.offsets, heads, kvHeads, headDim, scale, out, logSumExp)
      const saved: AttentionSaved | null = context.mode === 'train' ? { qkv: ops.alias(qkv), out: ops.alias(out), logSumExp, offsets: attention.offsets } : null
      return { out, saved }
    },
    backward(grad, saved, shape, place, context) {
      if (saved !== null && isPrefixSaved(saved)) return backwardBehind(grad, saved, (context.attention as PackedAttention).offsets, shape, place, context)
      const record = saved as AttentionSaved
      if ('plain' in record) return plainAttention.backward(grad, record.plain, shape, place, context)
      const { heads, kvHeads, headDim, scale } = shape
      const out = workspace.gradient(place, grad.shape[0], (heads + 2 * kvHeads) * headDim, grad.dtype)
      call('fettle::attention_backward', '', grad, record.qkv, record.out, record.logSumExp, record.offsets, heads, kvHeads, headDim, scale, out)
      return out
    },
  }
}
