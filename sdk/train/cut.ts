import type { RankOf } from '../models/share'
import type { BatchPlan, Plan } from '../plan/plan'

/** Shards that each micro-batch of a deterministic run is cut into, however many ranks there are: 1, 2 or 4. */
export const shardsOfMicroBatch = 4

/** How many share the rows of a micro-batch: data ranks, or shards where nothing may depend on the number of ranks. */
export function sharersOf({ deterministic }: Pick<Plan, 'deterministic'>, dataRanks: number): number { return deterministic ? shardsOfMicroBatch : dataRanks }

/** A data rank's share of a micro-batch: ranks take its rows or packs as evenly as they go, in order. */
export function ownUnits<T>(units: readonly T[], { index, count }: RankOf): T[] {
  return units.slice(Math.floor((units.length * index) / count), Math.floor((units.length * (index + 1)) / count))
}

/**
 * Cuts a step's rows or packs, in order, into micro-batches of which no rank's share holds more than `limit` tokens. A row that is
 * longer stands alone. Loss and gradient of the step do not depend on where it is cut: what changes is memory and time.
 * @param tokens of a row or pack
 * @param ranks that share each micro-batch: it has a row for each of them, where there are so many
 */
export function cutByTokens<T>(units: readonly T[], tokens: (unit: T) => number, limit: number, ranks: number): T[][] {
  const micros: T[][] = []
  let open: T[] = [], sum = 0
  for (const unit of units) {
    sum += tokens(unit)
    if (open.length >= ranks && !(ranks === 1 ? sum <= limit : evenlyWithin([...open, unit], tokens, limit, ranks))) {
      micros.push(open)
      open = []
      sum = tokens(unit)
    }
    open.push(unit)
  }
  return open.length === 0 ? micros : [...micros, open]
}

/**
 * Most tokens of a pass on CPUs where the plan says nothing: more at once are hardly faster there, while activations grow with them.
 * The same on all machines, so that ranks on several cut alike.
 */
export const cpuPass = 1024

/** How a step's rows become passes. */
export interface PassCut<T> {
  readonly tokens: (unit: T) => number
  /** The plan's: batches do not count, but the step's rows. */
  readonly budget: number | null
  /** Data ranks, or shards, that share each pass. */
  readonly ranks: number
  readonly device: 'cpu' | 'gpu'
}

/** Forward and backward passes of a step: by the plan's budget of tokens; without one its batches, cut where they are long on CPUs. */
export function passesOf<T>(batches: T[][], { tokens, budget, ranks, device }: PassCut<T>): T[][] {
  if (budget !== null) return cutByTokens(batches.flat(), tokens, budget, ranks)
  return device === 'cpu' ? batches.flatMap((batch) => cutByTokens(batch, tokens, cpuPass, ranks)) : batches
}

/** The largest pass that rows of at most `longest` tokens can make, where nothing else is known of them. */
export function largestPass({ size, accumulate, tokens: budget }: BatchPlan, longest: number, device: PassCut<never>['device']): { readonly rows: number; readonly tokens: number } {
  const all = budget === null ? size : size * accumulate, limit = budget ?? (device === 'cpu' ? cpuPass : Infinity)
  return { rows: Math.max(1, Math.min(all, Math.floor(limit / longest))), tokens: Math.max(longest, Math.min(all * longest, limit)) }
}

/** No rank's share is above the limit, but for a single long row. */
function evenlyWithin<T>(micro: readonly T[], tokens: (unit: T) => number, limit: number, ranks: number): boolean {
  return Array.from({ length: ranks }, (_, index) => ownUnits(micro, { index, count: ranks })).every((own) => own.length < 2 || own.reduce((sum, unit) => sum + tokens(unit), 0) <= limit)
}
