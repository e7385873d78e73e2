import { call, keep, ops, tensor, type DType, type Tensor } from 'fettle-native'
import type { Attention, PackedAttention, Sequences } from '../batch'
import { onDevice } from '../device'
import { joinParts, partsOf } from './heads'
import { biasOf, plainAttention } from './plain-attention'
import type { AttentionBlock, BlockContext, HeadShape, Saved } from './types'

/** Causal attention of packed sequences: queries `[N, heads, headDim]`, keys and values `[N, kvHeads, headDim]`. */
export interface VarlenAttention {
  forward(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, scale: number, window: number | null): VarlenForward
  /** Gradients of queries, keys and values, in their shapes. */
  backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, saved: VarlenForward, sequences: Sequences, scale: number, window: number | null): Tensor[]
}

/** `[N, heads, headDim]`, and what the backward wants beside it. */
export interface VarlenForward { readonly out: Tensor; readonly rest: readonly Tensor[] }

/** FlashAttention-2 (arXiv 2307.08691) as libtorch brings it, for fp16 and bf16; heads of up to 256 in eights, compute capability 8.0 or later. */
export const flashAttention: VarlenAttention = {
  forward(q, k, v, { starts, longest }, scale, window) {
    const [out, ...rest] = call('aten::_flash_attention_forward', '', q, k, v, starts, starts, longest, longest, 0, true, false, { scale, ...leftOf(window) }) as Tensor[]
    // Log-sum-exp and the two tensors of random state; the last is for debugging.
    return { out, rest: rest.slice(0, 3) }
  },
  backward: (grad, q, k, v, { out, rest: [logSumExp, state, unused] }, { starts, longest }, scale, window) =>
    call('aten::_flash_attention_backward', '', grad, q, k, v, out, logSumExp, starts, starts, longest, longest, 0, true, state, unused, { scale, ...leftOf(window) }) as Tensor[],
}

/** A window of w sees w − 1 tokens to the left of its own. */
function leftOf(window: number | null): object { return window === null ? {} : { windowSizeLeft: window - 1, windowSizeRight: 0 } }

/** Causal from the upper left, as the kernel numbers its masks. */
const causal = 1

/** Memory-efficient attention (arXiv 2112.05682) as libtorch brings it, for fp32. It knows one key head for each query head: shared ones are repeated, and their gradients summed. */
export const efficientAttention: VarlenAttention = {
  forward(q, k, v, { starts, longest }, scale, window) {
    const [query, key, value] = batched(q, k, v)
    const [out, logSumExp, seed, offset] = call('aten::_efficient_attention_forward', '', query, key, value, null, starts, starts, longest, longest, 0, causal, true, { scale, ...sizeOf(window) }) as Tensor[]
    return { out: ops.squeeze_dim(out, 0), rest: [logSumExp, seed, offset] }
  },
  backward(grad, q, k, v, { out, rest: [logSumExp, seed, offset] }, { starts, longest }, scale, window) {
    const [query, key, value] = batched(q, k, v), [tokens, kvHeads, headDim] = k.shape
    const [dq, dk, dv] = call('aten::_efficient_attention_backward', '', ops.unsqueeze(grad, 0), query, key, value, null, ops.unsqueeze(out, 0), starts, starts, longest, longest, logSumExp, 0, seed, offset, causal, false, { scale, ...sizeOf(window) }) as Tensor[]
    const summed = (x: Tensor): Tensor => ops.sum_dim(ops.view(ops.contiguous(x), [tokens, kvHeads, q.shape[1] / kvHeads, headDim]), 2)
    return [ops.squeeze_dim(dq, 0), summed(dk), summed(dv)]
  },
}

function sizeOf(window: number | null): object { return window === null ? {} : { windowSize: window } }

function batched(q: Tensor, k: Tensor, v: Tensor): Tensor[] {
  const shared = q.shape[1] / k.shape[1]
  return [q, ...[k, v].map((x) => (shared === 1 ? x : ops.repeat_interleave(x, shared, 1)))].map((x) => ops.unsqueeze(x, 0))
}

/** Which kernel serves a layer; `null`: none, the plain form runs. */
export type PickAttention = (shape: HeadShape, dtype: DType) => VarlenAttention | null

/** What libtorch has for this layer on a GPU of this compute capability. */
export function pickAttention(capability: number): PickAttention {
  return ({ headDim }, dtype) => {
    if (headDim % 8 !== 0) return null
    if (dtype === 'float32') return efficientAttention
    return headDim <= 256 && capability >= 80 ? flashAttention : null
  }
}

type AttentionSaved =
  | { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor; readonly forward: VarlenForward; readonly sequences: Sequences; readonly window: number | null }
  | { readonly plain: Saved }

/**
 * Causal attention of packed sequences in one call, with a window too. Masked and cached batches, ALiBi, prompts that are seen
 * whole and trained prefixes run in the plain form: libtorch's scaled dot-product attention, one sequence at a time.
 */
export class CudaAttention implements AttentionBlock {
  /** Of the batch that was seen last: all layers ask for the same. */
  private last: { readonly attention: Attention; readonly sequences: Sequences } | null = null

  constructor(private readonly pick: PickAttention) {}

  forward(...[qkv, shape, place, context]: Parameters<AttentionBlock['forward']>): ReturnType<AttentionBlock['forward']> {
    const { attention } = context, varlen = this.pick(shape, qkv.dtype), window = windowOf(shape, context)
    if (attention.kind !== 'packed' || varlen === null || window === undefined) {
      const { out, saved } = plainAttention.forward(qkv, shape, place, context)
      return { out, saved: saved && { plain: saved } }
    }
    const [q, k, v] = partsOf(qkv, shape), sequences = this.sequencesOf(attention, qkv.device), forward = varlen.forward(q, k, v, sequences, shape.scale, window)
    const saved: AttentionSaved | null = context.mode === 'train' ? { q, k, v, forward, sequences: { ...sequences, starts: ops.alias(sequences.starts) }, window } : null
    return { out: ops.reshape(forward.out, [qkv.shape[0], shape.heads * shape.headDim]), saved }
  }

  backward(...[grad, saved, shape, place, context]: Parameters<AttentionBlock['backward']>): Tensor {
    const record = saved as AttentionSaved
    if ('plain' in record) return plainAttention.backward(grad, record.plain, shape, place, context)
    const { q, k, v, forward, sequences, window } = record, gradOut = ops.view(grad, [grad.shape[0], shape.heads, shape.headDim])
    return joinParts(this.pick(shape, grad.dtype)!.backward(gradOut, q, k, v, forward, sequences, shape.scale, window), shape)
  }

  free(): void {
    this.last?.sequences.starts.free()
    this.last = null
  }

  private sequencesOf(attention: PackedAttention, device: string): Sequences {
    if (attention.sequences !== undefined) return attention.sequences
    if (this.last?.attention === attention) return this.last.sequences
    this.free()
    const { offsets } = attention, sequences = { starts: keep(onDevice(tensor(Int32Array.from(offsets)), device)), longest: Math.max(...offsets.slice(1).map((end, i) => end - offsets[i])) }
    this.last = { attention, sequences }
    return sequences
  }
}

/** The layer's window, `null`: it sees all of its past; `undefined`: something that no such kernel knows. */
function windowOf(shape: HeadShape, context: BlockContext): number | null | undefined {
  const bias = biasOf(shape, context)
  if (context.attention.kind !== 'packed' || context.prefix !== null) return undefined
  if (bias === null) return null
  // One mask of bools for all sequences comes from a window alone: slopes make numbers, prompts a mask for each.
  return shape.window !== undefined && !Array.isArray(bias) && (bias as Tensor).dtype === 'bool' ? shape.window : undefined
}
