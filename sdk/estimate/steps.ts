import type { RowReader } from '../data/dataset'
import { epochOrder } from '../data/order'
import { Packs } from '../data/packing'
import { dataRanks } from '../parallel/mesh/shape'
import type { Plan } from '../plan/plan'
import { ownUnits, sharersOf, type PassCut } from '../train/cut'
import { Windows } from '../train/windows'

/** A micro-batch, as memory and time see it. */
export interface Micro {
  readonly tokens: number
  readonly longest: number
  readonly sequences: number
  readonly supervised: number
}

/** What the steps of a run are made of, on the rank that has most of each. */
export interface Steps {
  /** Optimizer steps of the run. */
  readonly total: number
  /** Some of them, evenly over the run: micro-batches of each. */
  readonly sampled: readonly (readonly Micro[])[]
  /** The micro-batch with most tokens of the whole run. */
  readonly largest: Micro & { readonly rows: readonly number[] }
  /** Tokens and supervised tokens of a step, on all ranks, on average. */
  readonly tokens: number
  readonly supervised: number
}

/** So many steps stand for all. */
const sampledSteps = 32

/** The steps that a plan makes of prepared rows, as its workers cut them. */
export function stepsOf(plan: Plan, reader: RowReader, device: PassCut<never>['device']): Steps {
  const length = (row: number): number => reader.length(row), ranks = dataRanks(plan.mesh)
  const packs = plan.data.packing ? Packs.greedy(reader.rows, length, plan.data.maxLength) : null, count = packs?.count ?? reader.rows
  const windows = new Windows(count, { ...plan.batch, size: plan.batch.size * ranks }, plan, (epoch) => epochOrder({ rows: count, seed: plan.data.seed ?? plan.seed, epoch }), packs, { length, ranks: sharersOf(plan, ranks), device })
  const micro = (rows: readonly number[]): Micro => ({
    tokens: sum(rows, length), longest: Math.max(0, ...rows.map(length)), sequences: rows.length, supervised: sum(rows, (row) => reader.supervised(row)),
  })
  const busiest = (units: readonly (readonly number[])[]): Micro => Array.from({ length: ranks }, (_, index) => micro(ownUnits(units, { index, count: ranks }).flat())).reduce((a, b) => (b.tokens > a.tokens ? b : a))
  const chosen = Array.from({ length: Math.min(sampledSteps, windows.totalSteps) }, (_, i) => Math.floor((i + 0.5) * windows.totalSteps / Math.min(sampledSteps, windows.totalSteps)))
  const all = chosen.map((step) => windows.units(step)), mean = (of: (row: number) => number): number => all.reduce((total, units) => total + sum(units.flat(2), of), 0) / Math.max(1, all.length)
  const largest = Array.from({ length: ranks }, (_, index) => windows.largest(0, length, { index, count: ranks })).reduce((a, b) => (b.tokens > a.tokens ? b : a))
  return { total: windows.totalSteps, sampled: all.map((units) => units.map(busiest)), largest: { ...micro(largest.rows), rows: largest.rows }, tokens: mean(length), supervised: mean((row) => reader.supervised(row)) }
}

function sum(rows: readonly number[], of: (row: number) => number): number { return rows.reduce((total, row) => total + of(row), 0) }
