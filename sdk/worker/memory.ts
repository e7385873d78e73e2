import { devices, residentMemory } from 'fettle-native'
import { TrainingError } from '../errors'
import type { Architecture } from '../models/architecture'
import { freeMainMemory } from '../models/free-memory'
import { stepMemory } from '../models/memory'
import { gib } from '../views/format'
import type { Recompute } from '../train/walk'
import type { Plan } from '../plan/plan'
import { smallerPlan, type Remedy } from '../plan/smaller'
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
    const smaller = smallerWay(largest, length(longest), free, (tokens, row) => 12 * trainable + stepMemory(architecture, { tokens, longest: row, bytesPerValue, recompute: true, prefix: { places: prefix, sequences: 1 } }))
    throw new TrainingError('train.memory',
      `${what} needs at least ${gib(need(true))} of memory, ${gib(free)} are free; try ${smaller.calls}`,
      { remedy: smaller.calls, remedyFlags: smaller.flags, row: longest, length: length(longest), tokens: largest.tokens, need: need(true), free, resident: residentMemory() })
  }
  if (asked === true) return { recompute: true }
  warn('train.recompute', `${what} needs about ${gib(need(asked))} of memory, ${gib(free)} are free: each layer is computed again in the backward, which takes ${gib(need(true))} and a third more time. Fewer rows a batch or shorter rows avoid it.`)
  return { recompute: true }
}

/** One way to the same run, or nearly, that takes less: passes of fewer tokens, else shorter rows. What a step needs is a lower bound, so that some is left over. */
function smallerWay({ tokens }: LargestBatch, longest: number, free: number, need: (tokens: number, longest: number) => number): Remedy {
  const room = free / 1.5
  for (let budget = Math.floor(tokens / 2); budget >= longest; budget = Math.floor(budget / 2)) {
    if (need(budget, longest) <= room) return { calls: `.tokenBudget(${budget}).recompute()`, flags: `--per_device_train_batch_tokens ${budget} --recompute true` }
  }
  for (let row = Math.floor(longest / 2); row >= 16; row = Math.floor(row / 2)) {
    if (need(row, row) <= room) return { calls: `.data(path, { maxLength: ${row} }).tokenBudget(${row}).recompute()`, flags: `--max_length ${row} --src_length ${Math.floor(row / 2)} --per_device_train_batch_tokens ${row} --recompute true` }
  }
  return { calls: '.lora().bf16(), or a smaller model', flags: '--lora true --bf16 true, or a smaller model' }
}

/** What operating systems, libtorch and JavaScript say when memory cannot be had. */
const exhausted = /not enough memory|can't allocate memory|cannot allocate memory|bad_alloc|out of memory|ENOMEM|Array buffer allocation failed|mmap failed/i

/** The typed error for memory that ran out all the same, with a smaller way to the same run; any other error as it is. */
export function explainExhausted(error: unknown, plan: Plan, step: number | null): unknown {
  const { code = '', message = '' } = (error ?? {}) as { code?: string; message?: string }
  if (code === 'train.memory' || code === 'plan.memory' || !(code === 'native.memory' || exhausted.test(message))) return error
  const { calls, flags } = smallerPlan(plan)
  return new TrainingError('train.memory', `memory ran out ${step === null ? 'before the first step' : `after step ${step}`} (${message.split('\n')[0].slice(0, 200)}); this process holds ${gib(residentMemory())}, and ${gib(freeMainMemory())} can be had; try ${calls}`, { remedy: calls, remedyFlags: flags, step, resident: residentMemory(), free: freeMainMemory() }, { cause: error })
}
