import type { Packs } from '../data/packing'
import { DataError } from '../errors'
import type { RankOf } from '../models/share'
import type { BatchPlan } from '../plan/plan'
import { ownUnits, passesOf, type PassCut } from './cut'

/** Which rows the steps of a run take: of prepared data, or of a stream. */
export interface StepWindows {
  readonly totalSteps: number
  /** What each micro-batch of optimizer step `step`, counted from 0, is made of: rows, or packs of rows. */
  units(step: number): number[][][]
  /** Rows of each of its micro-batches. */
  at(step: number): number[][]
  /** Epochs done after `steps` optimizer steps. */
  epochsDone(steps: number): number
  /** Is an epoch's end reached with `steps` optimizer steps? */
  endsEpoch(steps: number): boolean
}

/** What tokens of a pass are counted by: each row's length, the ranks that share it, and what they compute on. */
export interface PassesBy extends Pick<PassCut<number>, 'ranks' | 'device'> { readonly length: (row: number) => number }

/** Row numbers of an epoch in the order that it takes them: a pure function of the epoch (and of the run's seed). */
export type EpochOrder = (epoch: number) => ArrayLike<number>

/**
 * Which rows each optimizer step takes. A window is up to `accumulate` micro-batches of up to `size` rows, or of `size`
 * packs of rows where packs are given: then all that is counted here is packs. The last window of
 * an epoch may be shorter, or is left out. Where tokens of a pass are counted, the same rows are cut into other micro-batches. Everything follows from the step's number, so a resume needs no other position.
 */
export class Windows implements StepWindows {
  readonly stepsPerEpoch: number
  readonly totalSteps: number
  /** Rows of an epoch: all, or those of full batches. */
  private readonly used: number
  private cached: { epoch: number; order: ArrayLike<number> } | null = null

  constructor(readonly rows: number, private readonly batch: BatchPlan, limit: { readonly epochs: number; readonly steps: number | null; readonly data?: { readonly dropLast: boolean } }, private readonly order: EpochOrder, private readonly packs: Pick<Packs, 'rows'> | null = null, private readonly passes: PassesBy | null = null) {
    this.used = limit.data?.dropLast ? rows - rows % batch.size : rows
    if (this.used === 0 && rows > 0) throw new DataError('data.no-batch', `expected at least one full batch of ${batch.size} rows, as the last one is dropped, got ${rows} rows; take a smaller batch, or keep the last one (dropLast / dataloader_drop_last false)`, { rows, size: batch.size })
    this.stepsPerEpoch = Math.max(1, Math.ceil(this.used / (batch.size * batch.accumulate)))
    this.totalSteps = limit.steps ?? Math.ceil(limit.epochs * this.stepsPerEpoch)
  }

  /** Rows of each micro-batch of optimizer step `step`, counted from 0. */
  at(step: number): number[][] { return this.units(step).map((units) => units.flat()) }

  units(step: number): number[][][] {
    const epoch = Math.floor(step / this.stepsPerEpoch)
    const order = this.epoch(epoch)
    const perStep = this.batch.size * this.batch.accumulate
    const start = (step % this.stepsPerEpoch) * perStep, end = Math.min(this.used, start + perStep)
    const units = Array.from({ length: end - start }, (_, i) => order[start + i]).map((unit) => (this.packs === null ? [unit] : [...this.packs.rows(unit)]))
    const { tokens: budget, size } = this.batch, { passes } = this
    const batches = Array.from({ length: Math.ceil(units.length / size) }, (_, i) => units.slice(i * size, (i + 1) * size))
    return passes === null ? batches : passesOf(batches, { ...passes, budget, tokens: (unit) => unit.reduce((sum, row) => sum + passes.length(row), 0) })
  }

  /** Epochs done after `steps` optimizer steps. */
  epochsDone(steps: number): number { return steps / this.stepsPerEpoch }

  /** Is an epoch's end reached with `steps` optimizer steps? */
  endsEpoch(steps: number): boolean { return steps % this.stepsPerEpoch === 0 }

  /**
   * The micro-batch with most tokens from `firstStep` on: what memory must hold. Of a very long run the first million
   * rows are looked at: by then most rows have met many others.
   * @param data whose share of each micro-batch
   */
  largest(firstStep: number, length: (row: number) => number, data: RankOf = { index: 0, count: 1 }): { readonly step: number; readonly rows: number[]; readonly tokens: number } {
    let largest = { step: firstStep, rows: [] as number[], tokens: 0 }
    const perStep = Math.min(this.rows, this.batch.size * this.batch.accumulate)
    const end = Math.min(this.totalSteps, firstStep + Math.ceil(1e6 / perStep))
    for (let step = firstStep; step < end; step++) {
      for (const units of this.units(step)) {
        const rows = ownUnits(units, data).flat()
        const tokens = rows.reduce((sum, row) => sum + length(row), 0)
        if (tokens > largest.tokens) largest = { step, rows, tokens }
      }
    }
    return largest
  }

  private epoch(epoch: number): ArrayLike<number> {
    if (this.cached?.epoch !== epoch) this.cached = { epoch, order: this.order(epoch) }
    return this.cached.order
  }
}
