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

/** Packs of rows that follow each other: pack p holds rows `[starts[p], starts[p + 1])`, so that a million rows need 4 MB at most. */
export class Packs {
  private constructor(private readonly starts: Int32Array) {}

  /**
   * Groups rows, in their order, into packs of at most `maxLength` tokens (InTokens, "zero padding" of the reference). No
   * row is cut: one that is longer than maxLength makes a pack of its own.
   */
  static greedy(rows: number, length: (row: number) => number, maxLength: number): Packs {
    const starts = new Int32Array(rows + 1)
    let packs = 0, room = -1
    for (let row = 0; row < rows; row++) {
      const tokens = length(row)
      if (packs === 0 || tokens > room) {
        starts[packs++] = row
        room = maxLength
      }
      room -= tokens
    }
    starts[packs] = rows
    return new Packs(starts.slice(0, packs + 1))
  }

  get count(): number { return this.starts.length - 1 }

  /** The rows of a pack, in order. */
  rows(pack: number): number[] { return Array.from({ length: this.starts[pack + 1] - this.starts[pack] }, (_, i) => this.starts[pack] + i) }
}

/**
 * Share of a batch that would be padding if each batch of `size` rows, in order, were padded to its longest row: what
 * laying rows end to end saves.
 */
export function paddingShare(rows: number, length: (row: number) => number, size: number): number {
  let padded = 0, tokens = 0
  for (let start = 0; start < rows; start += size) {
    const end = Math.min(rows, start + size)
    let longest = 0
    for (let row = start; row < end; row++) {
      longest = Math.max(longest, length(row))
      tokens += length(row)
    }
    padded += longest * (end - start)
  }
  return padded === 0 ? 0 : 1 - tokens / padded
}

/**
 * An int64 array and the low halves of its numbers. Ids and places are never negative, so writing the low halves of a
 * zeroed array is enough, and it makes no BigInt for each token. (Every platform that libtorch runs on is little-endian.)
 */
function int64(length: number): { values: BigInt64Array; low: Int32Array } {
  const values = new BigInt64Array(length)
  return { values, low: new Int32Array(values.buffer) }
}
