import { call, ops, type Tensor } from 'fettle-native'
import { groupsOf } from './heads'
import type { ActivationBlock, BlockContext, Forward, HeadNormBlock, HeadShape, NormBlock, NormWeights, RotaryBlock, Saved } from './types'

/** What the backward of a norm reads; `mean` where the norm has one. */
interface NormSaved { readonly x: Tensor; readonly mean: Tensor | null; readonly rstd: Tensor }

/** RMS norm and layer norm, weights with an offset too; the backward adds the residual's gradient in its own memory. */
export const cudaNorm: NormBlock = {
  forward(x, weights, _place, context) {
    const out = ops.empty_like(x), saved = normInto(x, out, weights, [], context)
    return { out, saved }
  },
  backward(grad, residual, saved, weights) {
    const out = residual ?? ops.empty_like(grad)
    normBack(grad, saved as NormSaved, residual, weights, [], out)
    return out
  },
}

/** Norms of heads, in place in a copy of the joined qkv. */
export const cudaHeadNorm: HeadNormBlock = {
  forward(qkv, { query, key }, shape, _place, context): Forward {
    const out = ops.clone(qkv), [queries, keys] = headsOf(shape)
    const saved = [normInto(qkv, out, query, queries, context), normInto(qkv, out, key, keys, context), { queries, keys }]
    return { out, saved: context.mode === 'train' ? saved : null }
  },
  backward(grad, saved, { query, key }) {
    const [ofQuery, ofKey, { queries, keys }] = saved as [NormSaved, NormSaved, { queries: number[]; keys: number[] }], out = ops.clone(grad)
    normBack(grad, ofQuery, null, query, queries, out)
    normBack(grad, ofKey, null, key, keys, out)
    return out
  },
}

/** @param heads where heads lie in a row; empty: the row is one */
function normInto(x: Tensor, out: Tensor, { kind, eps, offset, weight, bias }: NormWeights, heads: readonly number[], context: BlockContext): NormSaved | null {
  const rows = x.shape[0] * (heads[1] ?? 1), statistic = (): Tensor => ops.empty([rows], { dtype: 'float32', device: x.device })
  const rstd = statistic(), mean = kind === 'layer' ? statistic() : null
  call('fettle_cuda::norm_forward', '', x, weight.value, bias?.value, eps, offset, kind === 'layer', heads, out, mean, rstd)
  return context.mode === 'train' ? { x: ops.alias(x), mean, rstd } : null
}

function normBack(grad: Tensor, { x, mean, rstd }: NormSaved, residual: Tensor | null, { kind, offset, weight, bias }: NormWeights, heads: readonly number[], out: Tensor): void {
  call('fettle_cuda::norm_backward', '', grad, x, weight.value, mean, rstd, residual, offset, kind === 'layer', heads, out, weight.grad, bias?.grad)
}

/** Layouts of query heads and of key heads, as the kernel takes them: first number, rows of a token, rows of a group, distances, width. */
function headsOf(shape: HeadShape): [queries: number[], keys: number[]] {
  const { groups, queries, keys } = groupsOf(shape), { headDim } = shape, group = (queries + 2 * keys) * headDim
  return [[0, groups * queries, queries, group, headDim, headDim], [queries * headDim, groups * keys, keys, group, headDim, headDim]]
}

/** Rotary positions in place: both layouts of pairs, one or two axes, grouped heads, scaled queries. */
export const cudaRotary: RotaryBlock = {
  forward: (qkv, shape, _place, context) => rotate(qkv, shape, context, false),
  backward: (grad, shape, _place, context) => rotate(grad, shape, context, true),
}

function rotate(qkv: Tensor, shape: HeadShape, { rope }: BlockContext, back: boolean): Tensor {
  const { groups, queries, keys } = groupsOf(shape), { dim, layout, axes } = shape.rotary!, { cos, sin, queryScale } = rope!
  call('fettle_cuda::rotary_', '', qkv, cos, sin, queryScale, groups, queries, keys, shape.headDim, dim, axes, layout === 'interleaved', back)
  return qkv
}

/** All functions, gated and plain. */
export const cudaActivation: ActivationBlock = {
  forward(x, { kind, activation, width }, _place, context) {
    const out = ops.empty([x.shape[0], width], { dtype: x.dtype, device: x.device })
    call('fettle_cuda::activation_forward', '', x, activation, kind === 'gated', out)
    const saved: Saved = context.mode === 'train' ? { x: ops.alias(x) } : null
    return { out, saved }
  },
  backward(grad, saved, { kind, activation }) {
    const { x } = saved as { x: Tensor }, out = ops.empty_like(x)
    call('fettle_cuda::activation_backward', '', grad, x, activation, kind === 'gated', out)
    return out
  },
}
