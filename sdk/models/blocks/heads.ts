import { ops, type Tensor } from 'fettle-native'
import type { HeadShape } from './types'

/** A joined qkv is `groups` times so many query heads, so many key heads and as many value heads. */
export interface HeadGroups { readonly groups: number; readonly queries: number; readonly keys: number }

export function groupsOf({ heads, kvHeads, layout }: HeadShape): HeadGroups {
  return layout === 'separate' ? { groups: 1, queries: heads, keys: kvHeads } : { groups: kvHeads, queries: heads / kvHeads, keys: 1 }
}

/** `[tokens, groups, heads of a group, headDim]` of a joined qkv: a view. */
export function grouped(qkv: Tensor, shape: HeadShape): Tensor {
  const { groups, queries, keys } = groupsOf(shape)
  return ops.view(qkv, [qkv.shape[0], groups, queries + 2 * keys, shape.headDim])
}

/** Queries, keys, values `[tokens, heads, headDim]`. */
export function partsOf(qkv: Tensor, shape: HeadShape): Tensor[] {
  const { groups, queries, keys } = groupsOf(shape)
  return ops.split_sizes(grouped(qkv, shape), [queries, keys, keys], 2).map((part) => ops.reshape(part, [part.shape[0], groups * part.shape[2], shape.headDim]))
}

/** The joined qkv of such parts. */
export function joinParts(parts: readonly Tensor[], shape: HeadShape): Tensor {
  const { groups } = groupsOf(shape), tokens = parts[0].shape[0]
  const inGroups = parts.map((part) => ops.view(part, [tokens, groups, part.shape[1] / groups, shape.headDim]))
  return ops.reshape(ops.cat(inGroups, 2), [tokens, (shape.heads + 2 * shape.kvHeads) * shape.headDim])
}

/** Queries, keys, values `[rows, heads, length, headDim]` of rows of one length. */
export function splitHeads(qkv: Tensor, shape: HeadShape, rows: number): Tensor[] {
  const length = qkv.shape[0] / rows
  return partsOf(qkv, shape).map((part) => ops.transpose(ops.unflatten(part, 0, [rows, length]), 1, 2))
}

/** `[rows, heads, length, headDim]` → `[rows · length, heads · headDim]` */
export function joinHeads(out: Tensor): Tensor {
  const [rows, heads, length, headDim] = out.shape
  return ops.reshape(ops.transpose(out, 1, 2), [rows * length, heads * headDim])
}
