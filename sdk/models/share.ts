import type { Tensor } from 'fettle-native'
import type { Architecture, Role } from './architecture'
import { native } from './weights/native'

/** Which of so many ranks. */
export interface RankOf { readonly index: number; readonly count: number }

/** A stretch of layers, such as those of a pipeline stage. */
export interface LayerRange {
  /** The first layer, from 0. */
  readonly start: number
  /** The layer behind the last. */
  readonly end: number
}

/** The part of a model that a rank holds: its layers, and its cut of each matrix. */
export interface Share {
  readonly tensor: RankOf
  /** Tensor ranks also divide tokens between the matrices: norms see a part of them each. */
  readonly sequence: boolean
  /** Stretches of layers that run one after the other; several where stages are interleaved. */
  readonly chunks: readonly LayerRange[]
  /** Holds what stands before the first layer, and behind the last. */
  readonly first: boolean
  readonly last: boolean
}

/** All of a model. */
export function wholeShare({ layers }: Pick<Architecture, 'layers'>): Share {
  return { tensor: { index: 0, count: 1 }, sequence: false, chunks: [{ start: 0, end: layers }], first: true, last: true }
}

/** A stretch of rows or columns. */
export interface Stretch { readonly start: number; readonly length: number }

/** What a rank holds of one tensor: stretches of a dimension, one after the other. */
export interface Cut {
  readonly dim: 0 | 1
  readonly stretches: readonly Stretch[]
  /** How many ranks hold each stretch: more than 1 for key/value groups that are fewer than ranks. */
  readonly holders: readonly number[]
}

/**
 * The one rule by which tensors are cut over tensor ranks, for loading, saving, merging and adapters. `null`: whole on every rank.
 * A dimension is cut at its unit. Pieces of fewer units than ranks are held by several ranks each; a vocabulary is cut as evenly as it goes.
 * @param rows size of the tensor's first dimension, `columns` of its second
 */
export function cutOf(role: Role, rows: number, columns: number, tensor: RankOf): Cut | null {
  if (tensor.count === 1 || role.kind === 'replicate') return null
  if (role.kind === 'vocab') return { dim: 0, stretches: [evenly(rows, tensor)], holders: [1] }
  const dim = role.kind === 'column' ? 0 : 1
  const stretches: Stretch[] = [], holders: number[] = []
  let offset = 0
  for (const size of role.pieces ?? [dim === 0 ? rows : columns]) {
    const units = size / role.unit, held = Math.max(1, tensor.count / units)
    const first = held > 1 ? Math.floor(tensor.index / held) : tensor.index * (units / tensor.count), own = held > 1 ? 1 : units / tensor.count
    stretches.push({ start: offset + first * role.unit, length: own * role.unit })
    holders.push(held)
    offset += size
  }
  return { dim, stretches, holders }
}

/** The share of one of so many in `size` things; none is ahead by more than one. */
export function evenly(size: number, { index, count }: RankOf): Stretch {
  const start = Math.floor((size * index) / count)
  return { start, length: Math.floor((size * (index + 1)) / count) - start }
}

/** Rows of the vocabulary that a rank holds. */
export function vocabularyOf({ vocabSize }: Pick<Architecture, 'vocabSize'>, tensor: RankOf): Stretch { return evenly(vocabSize, tensor) }

/** Size of the cut dimension on this rank. */
export function cutSize(cut: Cut): number { return cut.stretches.reduce((sum, { length }) => sum + length, 0) }

/** What a rank holds of a whole tensor: a view where it is one stretch. */
export function takeCut(whole: Tensor, cut: Cut | null): Tensor {
  if (cut === null) return whole
  const { ops } = native()
  const parts = cut.stretches.map(({ start, length }) => ops.narrow(whole, cut.dim, start, length))
  return parts.length === 1 ? parts[0] : ops.cat(parts, cut.dim)
}

/** Writes what a rank holds into its place in the whole. */
export function putCut(whole: Tensor, own: Tensor, cut: Cut | null): void {
  const { ops } = native()
  if (cut === null) return void ops.copy_(whole, own)
  let from = 0
  for (const { start, length } of cut.stretches) {
    ops.copy_(ops.narrow(whole, cut.dim, start, length), ops.narrow(own, cut.dim, from, length))
    from += length
  }
}

/** Heads and widths of a rank, and where its heads begin among all. */
export interface LocalShape {
  readonly heads: number
  readonly kvHeads: number
  readonly intermediateSize: number
  readonly headStart: number
  readonly kvStart: number
}

export function localShape({ heads, kvHeads, intermediateSize }: Architecture, { tensor: { index, count } }: Share): LocalShape {
  const held = Math.max(1, count / kvHeads)
  return {
    heads: heads / count, kvHeads: Math.max(1, kvHeads / count), intermediateSize: intermediateSize / count,
    headStart: index * (heads / count), kvStart: held > 1 ? Math.floor(index / held) : index * (kvHeads / count),
  }
}
