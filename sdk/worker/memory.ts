import { devices, residentMemory } from 'fettle-native'
import { TrainingError } from '../errors'
import type { Architecture } from '../models/architecture'
import { freeMainMemory } from '../models/free-memory'
import { stepMemory } from '../models/memory'
import { gib } from '../views/format'
import type { Recompute } from '../train/walk'
import type { Warn } from '../train/checkpoints'

/** Bytes that this process may still take: free and reclaimable memory, less under a container's limit; on a GPU its free memory. */
export function availableMemory(device: string): number {
  if (device !== 'cpu') return devices().find((info) => info.device === device)?.freeMemory ?? Infinity
  return freeMainMemory()
}

/** What decides how much memory a run takes, beside the model's weights. */
export interface MemoryNeed {
  readonly architecture: Architecture
  /** Of an activation: 2 in bf16, 4 in fp32. */
  readonly bytesPerValue: number
  /** Numbers that train. Their gradients and moments take memory only when the first step writes them. */
  readonly trainable: number
  readonly device: string
  /** Places of a trained prefix. */
  readonly prefix?: number
  /** What the plan recomputes in any case. */
  readonly asked?: Recompute
}

/** The micro-batch with most tokens, and the step (from 0) that trains on it. */
export interface LargestBatch { readonly step: number; readonly rows: readonly number[]; readonly tokens: number }

/**
 * Looks at the largest batch of the run before the first step, so that one very long row in the middle of the data does
 * not end it hours later. Where its step does not fit, layers are recomputed; where that does not fit either, it is refused.
 * @throws TrainingError `train.memory`
 */
export function planMemory({ architecture, bytesPerValue, trainable, device, prefix = 0, asked = false }: MemoryNeed, largest: LargestBatch, length: (row: number) => number, warn: Warn): { readonly recompute: Recompute } {
  const free = availableMemory(device)
  const longest = largest.rows.reduce((best, row) => (length(row) > length(best) ? row : best), largest.rows[0])
  const need = (recompute: Recompute): number => 12 * trainable + stepMemory(architecture, { tokens: largest.tokens, longest: length(longest), bytesPerValue, recompute, prefix: { places: prefix, sequences: largest.rows.length } })
  if (asked !== true && need(asked) <= free) return { recompute: asked }
  const what = `the largest batch (step ${largest.step + 1}: ${largest.tokens} tokens, its longest row number ${longest} with ${length(longest)})`
  if (need(true) > free) {
    throw new TrainingError('train.memory',
      `${what} needs at least ${gib(need(true))} of memory, ${gib(free)} are free; shorten rows with .data(path, { maxLength: n }) / max_length, or take fewer rows a batch: .batch(n).accumulate(n) / per_device_train_batch_size with gradient_accumulation_steps`,
      { row: longest, length: length(longest), tokens: largest.tokens, need: need(true), free, resident: residentMemory() })
  }
  if (asked === true) return { recompute: true }
  warn('train.recompute', `${what} needs about ${gib(need(asked))} of memory, ${gib(free)} are free: each layer is computed again in the backward, which takes ${gib(need(true))} and a third more time. Fewer rows a batch or shorter rows avoid it.`)
  return { recompute: true }
}
