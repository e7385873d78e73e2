import { call, ops, type Tensor } from 'fettle-native'
import type { PackedAttention } from '../batch'
import { decode } from './fused-cached'
import { appendToCache } from './plain-cached'
import { biasOf, pastOf, plainAttention } from './plain-attention'
import type { AttentionBlock, BlockContext, HeadShape, Saved, Weight } from './types'
import type { Workspace } from './fused-workspace'

type AttentionSaved =
  | { readonly qkv: Tensor; readonly out: Tensor; readonly logSumExp: Tensor }
  | { readonly plain: Saved }

/**
 * Attention of packed rows, each sequence by itself, be they the first of a cache: causal, within a window, with ALiBi's
 * slopes, behind prompts that are seen whole and trained prefixes, in both layouts of heads; and one more token of each row
 * of a cache. Masked attention runs in the plain form.
 */
export function fusedAttention(workspace: Workspace): AttentionBlock {
  return {
    rules: true,
    forward(qkv, shape, place, context) {
      const { attention } = context, { heads, headDim } = shape
      if (attention.kind === 'cached' && attention.mask !== null) {
        workspace.enter(context)
        return { out: decode(qkv, shape, attention, place, context, workspace.saved(place, context, 'out', qkv.shape[0], heads * headDim, qkv.dtype)), saved: null }
      }
      if (attention.kind === 'masked' || biasOf(shape, context) !== null) {
        const { out, saved } = plainAttention.forward(qkv, shape, place, context)
        return { out, saved: saved && { plain: saved } }
      }
      if (attention.kind === 'cached') appendToCache(qkv, shape, attention, place.layer)
      workspace.enter(context)
      const rows = qkv.shape[0]
      const out = workspace.saved(place, context, 'out', rows, heads * headDim, qkv.dtype)
      // Kept as [heads, rows]; the buffer only has to hold as many numbers.
      const logSumExp = workspace.saved(place, context, 'logSumExp', rows, heads, 'float32')
      const [past] = pastOf(context, place.layer)
      call('fettle::attention_forward', '', qkv, ...ruleOf(shape, context), past?.value ?? null, out, logSumExp)
      const saved: AttentionSaved | null = context.mode === 'train' ? { qkv: ops.alias(qkv), out: ops.alias(out), logSumExp } : null
      return { out, saved }
    },
    backward(grad, saved, shape, place, context) {
      const record = saved as AttentionSaved
      if ('plain' in record) return plainAttention.backward(grad, record.plain, shape, place, context)
      const out = workspace.gradient(place, grad.shape[0], record.qkv.shape[1], grad.dtype), past: Weight | undefined = pastOf(context, place.layer)[0]
      call('fettle::attention_backward', '', grad, record.qkv, record.out, record.logSumExp, ...ruleOf(shape, context), past?.value ?? null, past?.grad ?? null, out)
      return out
    },
  }
}

/** Offsets, prompts, heads, scale, layout, window and slopes, as the kernels take them. */
function ruleOf({ heads, kvHeads, headDim, scale, layout, windowed }: HeadShape, { attention, scores: { rule } }: BlockContext): unknown[] {
  const { offsets } = attention as PackedAttention
  return [offsets, rule?.seen ?? [], heads, kvHeads, headDim, scale, layout === 'grouped', (windowed && rule?.window) || 0, rule?.slopes ?? null]
}
