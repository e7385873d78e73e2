import { epochOrder } from '../data/order'
import type { LengthHistogram, PaddingFacts } from './types'

const mostBins = 24

/** Rows by length, in at most 24 bins of a round width. */
export function histogram(lengths: Int32Array): LengthHistogram {
  const sorted = lengths.slice().sort()
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
  const min = sorted[0], max = sorted[sorted.length - 1]
  const width = roundWidth(max - min + 1)
  const first = Math.floor(min / width) * width
  const bins = Array.from({ length: Math.floor((max - first) / width) + 1 }, (_, i) => ({ from: first + i * width, to: first + (i + 1) * width, rows: 0 }))
  let sum = 0
  for (const length of lengths) {
    bins[Math.floor((length - first) / width)].rows++
    sum += length
  }
  return { min, median: at(0.5), p95: at(0.95), max, mean: sum / lengths.length, bins }
}

/** The smallest of 1, 2, 5, 10, 20, … that cuts `span` lengths, and one more bin for a start that is rounded down, into few enough bins. */
function roundWidth(span: number): number {
  for (let power = 1; ; power *= 10) {
    for (const factor of [1, 2, 5]) if (span / (factor * power) <= mostBins - 1) return factor * power
  }
}

/**
 * Positions that the first epoch computes when its batches are packed (no padding, as training does), when each is padded
 * to its longest row, and when each row is padded to `maxLength`.
 */
export function padding(lengths: Int32Array, batch: number, seed: number, maxLength: number): PaddingFacts {
  const order = epochOrder({ rows: lengths.length, seed, epoch: 0 })
  let packed = 0, toLongest = 0
  for (let start = 0; start < order.length; start += batch) {
    const end = Math.min(order.length, start + batch)
    let longest = 0
    for (let i = start; i < end; i++) {
      packed += lengths[order[i]]
      longest = Math.max(longest, lengths[order[i]])
    }
    toLongest += longest * (end - start)
  }
  const toMaxLength = maxLength * lengths.length
  return { batch, packed, toLongest, toMaxLength, saved: 1 - packed / toLongest, savedOfMaxLength: 1 - packed / toMaxLength }
}
