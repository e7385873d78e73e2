import type { RowReader } from '../data/dataset'
import { IGNORED, type Row } from '../data/dataset'
import type { StreamedRow } from '../data/stream-protocol'
import { TrainingError } from '../errors'
import type { BatchPlan } from '../plan/plan'
import { passesOf, type PassCut } from './cut'
import type { StepWindows } from './windows'

/** What a stream of rows gives; it begins after so many rows that were taken before. */
export interface StreamSource { next(): Promise<StreamedRow>; close(): void }

/** How steps are cut from a stream. */
export interface StreamCut extends Pick<PassCut<never>, 'ranks' | 'device'> {
  readonly batch: BatchPlan
  readonly steps: number
  /** Tokens of a pack; `null`: a batch holds rows. */
  readonly packed: number | null
  /** Identifies the stream, as a split's hash does. */
  readonly hash: string
}

/**
 * Steps and rows of a stream: `ready` brings the next step's rows, and only those are held. Rows are numbered as the
 * stream gives them. How many were taken is all that a resume needs, as their order follows from the seed.
 */
export class StreamWindows implements StepWindows {
  readonly totalSteps: number
  private source: StreamSource | null = null
  private held = new Map<number, Row>()
  private window: number[][][] | null = null
  /** Read, but it did not fit the last pack. */
  private over: StreamedRow | null = null
  private given = 0
  private epoch = 0

  constructor(private readonly open: (skip: number) => StreamSource, private readonly cut: StreamCut) { this.totalSteps = cut.steps }

  /** Rows that steps have taken so far: where a resume goes on. */
  get taken(): number { return this.given }

  /** Goes on after `rows` rows of the stream. Before the first step. */
  seek(rows: number): void { this.given = rows }

  /** Waits for the rows of the next step. @throws what the stream throws; the steps so far stand */
  async ready(): Promise<void> {
    if (this.window !== null) return
    this.held = new Map()
    const { size, accumulate } = this.cut.batch, window: number[][][] = []
    for (let micro = 0; micro < accumulate; micro++) {
      const units: number[][] = []
      for (let unit = 0; unit < size; unit++) units.push(await this.unit())
      window.push(units)
    }
    this.window = passesOf(window, { ...this.cut, budget: this.cut.batch.tokens, tokens: (unit) => unit.reduce((sum, row) => sum + this.held.get(row)!.inputIds.length, 0) })
  }

  at(step: number): number[][] { return this.units(step).map((units) => units.flat()) }

  units(step: number): number[][][] {
    const { window } = this
    if (window === null) throw new TrainingError('train.stream', `expected ready() before step ${step + 1} of a stream, so that its rows are there`, { step })
    this.given += this.held.size
    this.window = null
    return window
  }

  epochsDone(): number { return this.epoch }
  endsEpoch(): boolean { return false }
  close(): void { this.source?.close() }

  /** The rows that are held, by their numbers. */
  reader(): RowReader {
    const row = (index: number): Row => this.held.get(index)!
    return {
      rows: 0, row, length: (index) => row(index).inputIds.length, supervised: (index) => row(index).labels.filter((label, t) => t > 0 && label !== IGNORED).length,
      split: { file: '', rows: 0, tokens: 0, supervised: 0, truncated: 0, longest: 0, hash: this.cut.hash, sources: [], template: 'plain', preview: { text: '', ids: [], labels: [], tokens: [] }, notes: [] },
    }
  }

  /** One row, or a pack: rows in order while they fit. */
  private async unit(): Promise<number[]> {
    const { packed } = this.cut, rows = [await this.take()]
    let room = (packed ?? 0) - this.held.get(rows[0])!.inputIds.length
    while (packed !== null) {
      this.over ??= await this.read()
      if (this.over.inputIds.length > room) break
      room -= this.over.inputIds.length
      rows.push(await this.take())
    }
    return rows
  }

  private async take(): Promise<number> {
    const { inputIds, labels, epoch } = this.over ?? await this.read()
    this.over = null
    this.epoch = epoch
    const number = this.given + this.held.size
    this.held.set(number, { inputIds, labels })
    return number
  }

  private read(): Promise<StreamedRow> {
    this.source ??= this.open(this.given)
    return this.source.next()
  }
}
