import { scope } from 'fettle-native'
import type { RowReader } from '../data/dataset'
import { TrainingError } from '../errors'
import { packBatch, type Batch } from '../models/batch'
import type { Decoder } from '../models/decoder'
import { freeAll, keepAll } from '../models/free'
import { noiseSeed } from '../models/noise'
import { deterministicStep, type ShardBatch } from '../parallel/deterministic'
import { Ranks } from '../parallel/ranks'
import { parallelStep } from '../parallel/step'
import type { Plan } from '../plan/plan'
import { BestKeeper, noBest } from './best'
import { cudaRecorder, WalkGraphs } from './graphs'
import { LossScale } from './loss-scale'
import { AdamW } from './optimizer'
import { learningRateAt } from './schedule'
import { readPlan, restoreState, restoreWeights, writeRank, writeState, type LiveState, type TrainingState } from './state'
import { trainStep, type ParallelStep, type StepOptions, type StepResult, type StepWatch } from './step'
import { StreamWindows } from './stream-windows'
import { ownUnits, shardsOfMicroBatch } from './cut'
import type { StepWindows } from './windows'

/** What a trainer is put together from. */
export interface TrainerParts {
  readonly plan: Plan
  /** A decoder whose weights, or whose adapter, train. */
  readonly decoder: Decoder
  readonly rows: RowReader
  readonly windows: StepWindows
  readonly recompute: StepOptions['recompute']
  /** Which rank this is of those that train together. Default: it is alone. */
  readonly ranks?: Ranks
  readonly onPoint?: StepOptions['onPoint']
}

/** One step as the trainer ran it. */
export interface TrainerStep extends StepResult {
  /** Steps done, this one included. */
  readonly step: number
  readonly learningRate: number
  /** With fp16: the loss scale that it was made with. */
  readonly lossScale?: number
  /** Row numbers that it trained on. */
  readonly rows: readonly number[]
}

/** A loss that is not finite this often in a row will not come back by itself. */
const patience = 3

/** Training by steps: batches, schedule, optimizer, state. When to evaluate or save is the loop's business. */
export class Trainer {
  readonly optimizer: AdamW
  /** Which evaluation and which checkpoint were the best. */
  readonly best: BestKeeper
  /** With fp16 alone. */
  readonly lossScale: LossScale | null
  /** Looks on at the steps that follow; `null`: nobody does. */
  watch: StepWatch | null = null
  private readonly ranks: Ranks
  private readonly parallel: ParallelStep | null
  private readonly graphs: WalkGraphs | null
  /** Micro-batches of the window that runs. */
  private micros = 0
  private done = 0
  private failures = 0
  private ownRate: number | undefined
  /** Batches that were made before their step. */
  private ahead: { readonly step: number; readonly batches: readonly Batch[] } | null = null
  /** Step at which the data begins: 0 but after a resume that began it again. */
  private dataStart = 0

  /** @throws ModelError `batch.length` when a row is longer than the model can be trained on */
  constructor(readonly parts: TrainerParts) {
    parts.decoder.refuseLength(parts.rows.split.longest)
    this.ranks = parts.ranks ?? Ranks.alone()
    this.parallel = parts.plan.deterministic ? deterministicStep(this.ranks, parts.decoder, () => this.micros) : parallelStep(this.ranks, parts.decoder)
    this.best = new BestKeeper(parts.plan.best)
    this.lossScale = parts.plan.precision === 'fp16' ? new LossScale(parts.plan.fp16.lossScale) : null
    const { decoder, decoder: { parameters: { device } }, plan } = parts
    this.graphs = plan.cudaGraphs && device !== 'cpu' && this.parallel === null && this.lossScale === null ? new WalkGraphs(decoder, cudaRecorder(device)) : null
    this.optimizer = new AdamW(parts.decoder.parameters.flat!, parts.plan.optimizer, parts.plan.lora?.plusRatio)
  }

  /** Optimizer steps done. */
  get step(): number { return this.done }

  /** Has the last step ended an epoch? */
  get endsEpoch(): boolean { return this.parts.windows.endsEpoch(this.done - this.dataStart) }

  /** Base learning rate that the schedule scales: the plan's, or what `setLearningRate` put in its place. */
  get learningRate(): number { return this.ownRate ?? this.parts.plan.optimizer.learningRate }

  /** From the next step on in place of the plan's base rate, under the same schedule; checkpoints keep it. */
  setLearningRate(rate: number): void { this.ownRate = rate }

  /** Waits for the next step's rows where they come as a stream. @throws DataError of a bad row, with file and line */
  async ready(): Promise<void> { await this.stream?.ready() }

  /**
   * The next optimizer step. Weights stay as they were when the window has no label or its loss or gradient is not
   * finite (see `outcome`); the schedule and the data go on.
   * @throws TrainingError `train.not-finite` at the third such loss in a row, `train.loss-scale` when fp16 finds no scale
   */
  next(): TrainerStep {
    const { plan, decoder, windows, recompute, onPoint } = this.parts
    const units = windows.units(this.done - this.dataStart), rows = units.flat(2)
    const learningRate = learningRateAt(plan.schedule, this.learningRate, this.done, windows.totalSteps)
    const lossScale = this.lossScale?.value
    this.micros = units.length
    const { watch } = this, ahead = this.takeAhead(), batches = (): readonly Batch[] => ahead ?? this.batches(units, this.done)
    const result = scope(() => trainStep(decoder, this.optimizer, watch === null ? batches() : watch.part('batches', batches), {
      meanwhile: () => this.prepare(this.done + 1), learningRate, maxGradNorm: plan.optimizer.maxGradNorm, dropout: (plan.lora?.dropout ?? 0) > 0, recompute, lossScale, onPoint, watch: watch ?? undefined, graphs: this.graphs ?? undefined,
      supervised: this.count(rows, (row) => this.parts.rows.supervised(row)), tokens: this.count(rows, (row) => this.parts.rows.length(row)), parallel: this.parallel ?? undefined,
    }))
    freeAll(ahead)
    this.done++
    if (result.outcome === 'overflow') this.lossScale?.overflowed(this.done)
    if (result.outcome === 'updated') this.lossScale?.succeeded()
    this.failures = result.outcome === 'not-finite' ? this.failures + 1 : 0
    if (this.failures >= patience) throw this.diverged(result, rows)
    return { ...result, step: this.done, learningRate, lossScale, rows }
  }

  /** This rank's micro-batches of optimizer step `step`, counted from 0. */
  private batches(units: readonly (readonly (readonly number[])[])[], step: number): Batch[] {
    return units.flatMap((micro, i) => (this.parts.plan.deterministic ? this.shards(micro, i, step) : this.share(micro, i, step)))
  }

  /** Makes a step's batches before it comes: by itself, while a GPU works on the step before. What a stream brings next is not known yet. */
  prepare(step = this.done): void {
    const { windows } = this.parts
    if (this.stream !== null || step >= windows.totalSteps) return
    this.dropAhead()
    this.ahead = { step, batches: scope(() => keepAll(this.batches(windows.units(step - this.dataStart), step))) }
  }

  /** What was prepared for the step that comes, to be freed behind it; `null`: nothing. */
  private takeAhead(): readonly Batch[] | null {
    if (this.ahead?.step !== this.done) this.dropAhead()
    const batches = this.ahead?.batches ?? null
    this.ahead = null
    return batches
  }

  private dropAhead(): void {
    freeAll(this.ahead?.batches)
    this.ahead = null
  }

  /** This rank's batch of a micro-batch. Ranks meet at each layer: one without a label of its own walks along with one of theirs. */
  private share(units: readonly (readonly number[])[], index: number, step: number): Batch[] {
    const { index: rank, count } = this.ranks.data
    const own = ownUnits(units, this.ranks.data).flat(), learns = (row: number): boolean => this.parts.rows.supervised(row) > 0
    if (own.some(learns) || (count === 1 && own.length > 0)) return [this.batch(own, index * count + rank, step)]
    const other = count > 1 ? units.flat().find(learns) : undefined
    return other === undefined ? [] : [{ ...this.batch([other], index * count + rank, step), ghost: true }]
  }

  /** This rank's shards of a micro-batch, of which there are as many on any number of ranks. */
  private shards(units: readonly (readonly number[])[], micro: number, step: number): ShardBatch[] {
    const own = Array.from({ length: shardsOfMicroBatch }, (_, index) => index).filter((index) => Math.floor((index * this.ranks.data.count) / shardsOfMicroBatch) === this.ranks.data.index)
    return own.flatMap((index): ShardBatch[] => {
      const rows = ownUnits(units, { index, count: shardsOfMicroBatch }).flat(), number = micro * shardsOfMicroBatch + index
      return rows.length === 0 ? [] : [{ ...this.batch(rows, number, step), shard: { micro, index, seed: noiseSeed(this.parts.plan.seed, step, number) } }]
    })
  }

  private count(rows: readonly number[], of: (row: number) => number): number { return rows.reduce((sum, row) => sum + of(row), 0) }

  private batch(numbers: readonly number[], index: number, step: number): Batch {
    const { rows, plan: { neftune, seed } } = this.parts, { device, architecture } = this.parameters
    const batch = packBatch(numbers.map((row) => rows.row(row)), device, architecture.prompt)
    return neftune === null || neftune === 0 ? batch : { ...batch, noise: { alpha: neftune, seed: noiseSeed(seed, step, index) } }
  }

  private get live(): LiveState { return { parameters: this.parameters, optimizer: this.optimizer, ranks: this.ranks } }

  /** Writes what this rank of many holds of masters, moments and generators. */
  writeRank(folder: string): void { writeRank(folder, this.live) }

  /** Writes masters, moments, generators, position and plan into a checkpoint's folder. */
  write(folder: string): void { writeState(folder, this.live, { step: this.done, data: this.data, dataStart: this.dataStart || undefined, learningRate: this.ownRate, best: this.best.state, lossScale: this.lossScale?.state, taken: this.stream?.taken }, this.parts.plan) }

  /**
   * Goes on from a checkpoint that is verified and of the same data; with a rate that was set there, unless this plan names
   * another base rate than the checkpoint's: who wrote it meant that.
   */
  restore(folder: string): void {
    const { step, learningRate, dataStart = 0, best = noBest, lossScale, taken } = restoreState(folder, this.live)
    this.dropAhead()
    if (lossScale !== undefined && this.lossScale !== null) this.lossScale.state = lossScale
    if (this.parts.plan.resumeData === 'continue') this.stream?.seek(taken ?? 0)
    this.best.state = best
    this.done = step
    this.dataStart = this.parts.plan.resumeData === 'restart' ? step : dataStart
    const planned = readPlan(folder).optimizer.learningRate === this.parts.plan.optimizer.learningRate
    this.ownRate = planned ? learningRate : undefined
    this.parts.decoder.weightsChanged()
  }

  /** Takes the weights of a checkpoint of this run, and nothing else of it. */
  takeWeights(folder: string): void {
    restoreWeights(folder, this.live)
    this.parts.decoder.weightsChanged()
  }

  /** What identifies the training rows. */
  get data(): TrainingState['data'] { return { hash: this.parts.rows.split.hash, rows: this.parts.rows.rows } }
  get parameters(): Decoder['parameters'] { return this.parts.decoder.parameters }

  free(): void {
    this.dropAhead()
    this.graphs?.free()
    this.optimizer.free()
  }

  /** No more steps: what reads a stream ends. */
  close(): void { this.stream?.close() }

  private get stream(): StreamWindows | null { return this.parts.windows instanceof StreamWindows ? this.parts.windows : null }

  private diverged({ loss, gradNorm }: StepResult, rows: readonly number[]): TrainingError {
    return new TrainingError('train.not-finite',
      `the loss or its gradient is not finite for ${patience} steps in a row, up to step ${this.done} (loss ${loss}, gradient norm ${gradNorm}); try a lower learning rate, warm-up, or fp32`,
      { step: this.done, loss: String(loss), gradNorm: String(gradNorm), rows: rows.slice(0, 64) })
  }
}
