import { existsSync } from 'node:fs'
import type { PreparedSplit, RowReader } from '../data/dataset'
import { DataError, PlanError } from '../errors'
import type { CharacterScores } from '../metrics/characters'
import type { GenerationPlan } from '../plan/plan'
import type { DoneEvent, EvalEvent, PredictEvent, SampleEvent } from '../run/events'
import type { ChatReply } from '../run/protocol'
import { saveCheckpoint } from '../train/checkpoint'
import { checkpointFolder } from '../train/checkpoints'
import { isDiskFull } from '../train/disk'
import { evaluateSteps, type EvaluateResult } from '../train/evaluate'
import { answer, samplePrompts, type AnswerOptions, type SamplePrompt } from './answers'
import { writeCheckpoint, writeTrained } from './output'
import type { Channel } from './channel'
import { scoreAnswers } from './generated'
import { converse, type Hearing, type Question } from './conversation'
import { uploadAs, uploadCommand } from '../export/upload'
import { Profiling } from './profiling'
import type { Reporter } from './reporter'
import type { Session } from './session'

/** What is done beside training, on the live weights: each as an event, and as a value for who asked. */
export class Tasks {
  /** Step of the newest of each, so that the end of a run does not repeat it. */
  readonly last = { eval: -1, sample: -1 }
  private saved: { readonly step: number; readonly path: string } | null = null
  private prompts: SamplePrompt[] | null = null

  /** Steps that somebody looks into. */
  readonly profiling: Profiling

  constructor(private readonly session: Session, private readonly reporter: Reporter, private readonly channel: Channel) {
    this.profiling = new Profiling(session)
  }

  get step(): number { return this.session.trainer?.step ?? 0 }

  /** Something trains: the plan does not only evaluate. */
  get trains(): boolean { return this.session.trainer !== null }

  /** `null` when a stop came before it was through. @throws DataError `data.no-dev` */
  async evaluate(): Promise<EvalEvent | null> {
    const { dev, plan } = this.session
    if (dev === null) throw new DataError('data.no-dev', `expected held-out rows to evaluate on, found none in ${plan.data.path}; add dev.json beside train.json`, { path: plan.data.path })
    const figures = await this.figures(dev, 'held-out rows')
    if (figures === null) return null
    this.last.eval = this.step
    return this.reporter.event({ type: 'eval', atStep: this.step, ...figures })
  }

  /** The same on test.json, with the final weights; `null` when a stop came. */
  async predict(): Promise<PredictEvent | null> {
    const figures = await this.figures(this.session.test!, 'test rows')
    return figures && this.reporter.event({ type: 'predict', atStep: this.step, ...figures })
  }

  private async figures(rows: RowReader, what: string): Promise<Omit<EvalEvent, 'type' | 'time' | 'atStep'> | null> {
    const { plan, decoder, mostTokens, control, dev, ranks } = this.session, started = performance.now()
    decoder.refuseLength(rows.split.longest) // before other ranks begin: they would fail with it
    control?.tell({ kind: 'evaluate', split: rows === dev ? 'dev' : 'test' })
    // Batches must be the same on each rank, and what a rank's longest batch holds is its own affair.
    const walk = evaluateSteps(decoder, rows, { rows: plan.batch.evalSize, tokens: control === null ? mostTokens : undefined }, ranks)
    let next: IteratorResult<void, EvaluateResult>
    while (control?.go(true), !(next = walk.next()).done) {
      await new Promise((resolve) => setImmediate(resolve)) // a stop comes in
      if (!this.channel.isLeaving) continue
      control?.go(false)
      return null
    }
    const { loss, perplexity, accuracy } = next.value
    const scores = plan.evaluation.generate ? await this.scores(rows.split, what) : {}
    return scores && { loss, perplexity, accuracy, ...scores, rows: rows.rows, ms: performance.now() - started }
  }

  /** Why a collective failed; any other error as it is. */
  async explain(error: unknown): Promise<unknown> { return await this.session.followers?.explain(error) ?? error }

  private scores(split: PreparedSplit, what: string): Promise<CharacterScores | null> {
    return scoreAnswers(this.session, split, { isOver: () => this.channel.isLeaving, onProgress: (done, total) => this.reporter.progress(`answering ${what}`, done, total) })
  }

  /** An evaluation of the plan's cadence, which the best checkpoint is chosen by. */
  async judge(): Promise<void> {
    const event = await this.evaluate()
    if (event !== null) this.session.trainer?.best.judge(this.step, event)
  }

  /** Takes the best checkpoint's weights where the plan asks for them and the last are not the best. @returns what is known of the best */
  takeBest(): DoneEvent['best'] {
    const { plan, trainer, output } = this.session
    if (trainer === null || (!plan.best.load && plan.best.patience === null)) return undefined
    const { figure, state } = trainer.best, mark = plan.best.load ? trainer.best.betterThan(this.step) : null
    const folder = mark === null ? null : checkpointFolder(output, mark.step), stands = folder !== null && existsSync(folder)
    if (folder !== null && !stands) this.reporter.warn('best.gone', `the best checkpoint, ${folder}, is gone; the final weights are the last ones`)
    if (stands) {
      this.session.control?.tell({ kind: 'take', folder })
      trainer.takeWeights(folder)
    }
    const best = mark ?? state.best
    return best === null ? undefined : { ...best, metric: figure, loaded: stands }
  }

  /** Answers to the sample prompts of the plan; `null` when a stop came, which does not wait for them. */
  async sample(): Promise<SampleEvent | null> {
    const { plan, data } = this.session
    this.prompts ??= samplePrompts(plan.sample.prompts, data.dev ?? data.train)
    const answers = await answer(this.session, this.prompts.map(({ prompt }) => prompt), plan.sample.generation, { chat: true, isOver: () => this.channel.isLeaving })
    if (this.channel.isLeaving) return null
    this.last.sample = this.step
    return this.reporter.event({ type: 'sample', atStep: this.step, samples: this.prompts.map((prompt, i) => ({ ...prompt, answer: answers[i] })) })
  }

  generate(prompts: readonly string[], generation: GenerationPlan, chat: boolean, hearing: Omit<AnswerOptions, 'chat'>): Promise<string[]> {
    return answer(this.session, prompts, generation, { chat, ...hearing })
  }

  /** @throws PlanError `chat.no-base` where all weights train: then no untouched model is here */
  async chat(question: Question, hearing: Hearing): Promise<ChatReply> {
    const { plan, adapter, trainer } = this.session
    if (question.side === 'base' && adapter === null && trainer !== null) {
      throw new PlanError('chat.no-base', 'expected a run of an adapter to ask for the base model, got one that trains all weights; ask a worker of its own for the untouched model, as chat(run) does', {})
    }
    return converse({ ...this.session, template: plan.data.template }, question, hearing)
  }

  /** From the next step on, in place of the plan's base rate. */
  setLearningRate(rate: number): void {
    this.session.control?.tell({ kind: 'rate', rate })
    this.session.trainer!.setLearningRate(rate)
  }

  /** Writes `checkpoint-N`; @throws PlanError `run.no-training` when nothing trains */
  async save(): Promise<string> {
    const { plan, trainer, output } = this.session
    if (trainer === null) throw new PlanError('run.no-training', 'expected a run that trains, got one that only evaluates; there is nothing to save', {})
    const { path, removed } = await saveCheckpoint(output, trainer, plan.save.keep, (folder) => writeCheckpoint(this.session, folder))
    this.saved = { step: this.step, path }
    this.reporter.event({ type: 'saved', atStep: this.step, path, final: false, ...(removed.length > 0 ? { removed } : {}) })
    return path
  }

  /** The checkpoint of this very step: the one that stands, else a new one. */
  async saveOnce(): Promise<string> { return this.saved?.step === this.step ? this.saved.path : this.save() }

  /** As `save`, but a disk that is full does not end the run: the older checkpoints stand, and training may still finish. */
  async saveIfRoom(): Promise<void> {
    try {
      await this.save()
    } catch (error) {
      if (!isDiskFull(error)) throw error
      this.reporter.warn('checkpoint.disk-full', `checkpoint-${this.step} was not saved: ${(error as Error).message}. Training goes on; free some space before the next one.`)
    }
  }

  /**
   * Uploads the final weights where the plan asks for it. They stand in the output folder: what goes wrong is a warning
   * that says how to repeat it. A stop ends it.
   */
  async upload(): Promise<void> {
    const { plan: { upload: plan }, output } = this.session
    if (plan === null || this.channel.isLeaving) return
    const abort = new AbortController()
    void this.channel.leaving.then(() => abort.abort())
    let stage = 'uploading'
    const tell = (): void => this.reporter.progress(stage, 0, null)
    // A large file is one request: the front must not take the silence for a worker that hangs.
    const beat = setInterval(tell, 10_000)
    try {
      const { url, files } = await uploadAs(output, plan, { signal: abort.signal, onProgress: ({ message }) => { stage = message; tell() } })
      this.reporter.event({ type: 'uploaded', atStep: this.step, to: plan.to, repository: plan.repository, url, files })
    } catch (error) {
      const why = abort.signal.aborted ? 'the run was stopped meanwhile' : (error as Error).message
      this.reporter.warn('upload.failed', `the result was not uploaded: ${why}. It stands in ${output}; to repeat the upload: ${uploadCommand(output, plan)}`)
    } finally {
      clearInterval(beat)
    }
  }

  /** Writes the final weights into the output folder itself. */
  saveFinal(): void {
    const { output } = this.session
    writeTrained(this.session, output)
    this.reporter.event({ type: 'saved', atStep: this.step, path: output, final: true })
  }
}
