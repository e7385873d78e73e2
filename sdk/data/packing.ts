import { IGNORED, type Row } from './dataset'

/** Rows laid end to end, without padding. Numbers are int64 because the engine indexes with int64. */
export interface PackedRows {
  readonly tokens: number
  readonly ids: BigInt64Array
  /** Place of each token in its own row. */
  readonly positions: BigInt64Array
  /** Where each row starts, and the end: row r is [offsets[r], offsets[r + 1]). */
  readonly offsets: number[]
  /** Tokens that predict something: place t whose next token, in the same row, has a label. May be empty. */
  readonly targetRows: BigInt64Array
  /** The label that each of `targetRows` predicts. */
  readonly targetLabels: BigInt64Array
  /** Length of the longest row. */
  readonly longest: number
}

/** Packs rows into one batch. Each row predicts inside itself only: its first token is never a target. */
export function packRows(rows: readonly Row[]): PackedRows {
  const offsets = [0]
  let longest = 0
  let targets = 0
  for (const { inputIds, labels } of rows) {
    offsets.push(offsets[offsets.length - 1] + inputIds.length)
    longest = Math.max(longest, inputIds.length)
    targets += countSupervised(labels)
  }
  const tokens = offsets[offsets.length - 1]
  const ids = int64(tokens)
  const positions = int64(tokens)
  const targetRows = int64(targets)
  const targetLabels = int64(targets)
  let target = 0
  rows.forEach(({ inputIds, labels }, r) => {
    const start = offsets[r]
    for (let t = 0; t < inputIds.length; t++) {
      ids.low[2 * (start + t)] = inputIds[t]
      positions.low[2 * (start + t)] = t
      if (t + 1 < labels.length && labels[t + 1] !== IGNORED) {
        targetRows.low[2 * target] = start + t
        targetLabels.low[2 * target++] = labels[t + 1]
      }
    }
  })
  return { tokens, ids: ids.values, positions: positions.values, offsets, targetRows: targetRows.values, targetLabels: targetLabels.values, longest }
}

/** Labels that a token before them predicts: all but one at the row's first place. */
export function countSupervised(labels: Int32Array): number {
  let count = 0
  for (let t = 1; t < labels.length; t++) if (labels[t] !== IGNORED) count++
  return count
}

/**
 * Groups rows, in their order, into packs of at most `maxLength` tokens ("zero padding" of the reference). No row is cut:
 * one that is longer than maxLength makes a pack of its own.
 */
export function packGreedily(lengths: ArrayLike<number>, maxLength: number): number[][] {
  const packs: number[][] = []
  let room = -1
  for (let row = 0; row < lengths.length; row++) {
    if (packs.length === 0 || lengths[row] > room) {
      packs.push([])
      room = maxLength
    }
    packs[packs.length - 1].push(row)
    room -= lengths[row]
  }
  return packs
}

/**
 * An int64 array and the low halves of its numbers. Ids and places are never negative, so writing the low halves of a
 * zeroed array is enough, and it makes no BigInt for each token. (Every platform that libtorch runs on is little-endian.)
 */
function int64(length: number): { values: BigInt64Array; low: Int32Array } {
  const values = new BigInt64Array(length)
  return { values, low: new Int32Array(values.buffer) }
}
