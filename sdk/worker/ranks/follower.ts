import { existsSync } from 'node:fs'
import { noGrad, showProgress, Store, tuneAllocator } from 'fettle-native'
import type { RowReader } from '../../data/dataset'
import { openRows } from '../../data/arrow-reader'
import { prepare } from '../../data/prepare'
import { Control, isOfAnother, type Task } from '../../parallel/control'
import { meetRemote, type Meeting } from '../../parallel/meet'
import { Ranks, waits } from '../../parallel/ranks'
import { meshShape } from '../../parallel/mesh/shape'
import { loadTokenizer } from '../../tokenizers'
import { isDiskFull } from '../../train/disk'
import { evaluateSteps } from '../../train/evaluate'
import { generateSteps } from '../../train/generate'
import type { Plan } from '../../plan/plan'
import { readBase, type MemoryBase } from '../../profile/memory'
import { RecordedSteps } from '../../profile/recorded-steps'
import type { Trainer } from '../../train/trainer'
import { neededSplits, onGpus, openModel, openTrainer, type OpenedModel } from '../session'
import { writePart } from './profile'
import { writeWeights } from './save'

/** What a rank beside the first is told. */
export interface FollowerJob {
  readonly plan: Plan
  readonly modelPath: string
  readonly output: string
  /** Folder of the checkpoint that the run goes on from. */
  readonly checkpoint: string | null
  /** Where it meets the others: by files of the first rank of its machine, or as a launcher says. */
  readonly meeting: LocalMeeting | Meeting
}

/** Ranks of one machine meet in a file. */
export interface LocalMeeting {
  readonly store: string
  readonly rank: number
  readonly ranks: number
  /** File in which it shows how far it is. */
  readonly progress: string
}

/** The life of a rank beside the first: it loads its part and does with the others what the first rank says, until the end. @param here called when it is ready to meet the others */
export async function follow({ plan, modelPath, checkpoint, meeting }: FollowerJob, here: () => void): Promise<void> {
  tuneAllocator()
  const shape = meshShape(plan.mesh)
  if (!('store' in meeting)) return followAs(await meetRemote(shape, meeting, onGpus(plan)), plan, modelPath, checkpoint)
  const { store, rank, ranks: count, progress } = meeting
  showProgress(progress)
  here()
  const ranks = Ranks.join(shape, { store: Store.file(store, count, waits.start), rank, timeout: waits.collective, commandTimeout: waits.command, address: '127.0.0.1', gpu: onGpus(plan) })
  await followAs(ranks, plan, modelPath, checkpoint)
}

/** The same on ranks that have met. */
async function followAs(ranks: Ranks, plan: Plan, modelPath: string, checkpoint: string | null): Promise<void> {
  const control = new Control(ranks.groups.command!), base = readBase()
  const model = openModel(plan, modelPath, ranks, checkpoint)
  const follower = new Follower(plan, modelPath, model, control, ranks, base)
  for (let task = control.hear(); task.kind !== 'end'; task = control.hear()) await follower.perform(task)
}

class Follower {
  private trainer: Trainer | null = null
  /** While steps are profiled. */
  private recorded: RecordedSteps | null = null
  private rows: { readonly dev: RowReader | null; readonly test: RowReader | null } = { dev: null, test: null }

  constructor(private readonly plan: Plan, private readonly modelPath: string, private readonly model: OpenedModel, private readonly control: Control, private readonly ranks: Ranks, private readonly base: MemoryBase) {}

  async perform(task: Task): Promise<void> {
    switch (task.kind) {
      case 'open': return this.open(task)
      case 'step':
        await this.trainer!.ready()
        if (task.recorded === true) (this.recorded ??= new RecordedSteps(this.trainer!, this.base, this.ranks.rank)).next()
        else this.trainer!.next()
        return
      case 'profile':
        this.control.write(() => writePart(task.folder, this.recorded!.profile()))
        this.recorded = null
        return
      case 'rate': return this.trainer!.setLearningRate(task.rate)
      case 'evaluate': return this.evaluate(this.rows[task.split]!)
      case 'generate':
        for (const step of generateSteps(this.model.decoder, task.prompts, task.options)) void step
        return
      case 'save':
        return this.save(task)
      case 'take': return this.trainer!.takeWeights(task.folder)
      case 'end': return
    }
  }

  private async open({ data: theirs, located, checkpoint }: Extract<Task, { kind: 'open' }>): Promise<void> {
    const { plan, model, modelPath, ranks } = this
    // On another machine the first rank's cache is not there: the same rows are prepared once more.
    const isHere = [theirs.train, theirs.dev, theirs.test].every((split) => split === null || existsSync(split.file))
    const data = isHere ? theirs : await prepare(located, modelPath, neededSplits(plan))
    this.rows = { dev: data.dev && openRows(data.dev), test: data.test && openRows(data.test) }
    if (plan.train) this.trainer = openTrainer({ plan, located, decoder: model.decoder, data, modelPath, tokenizer: loadTokenizer(modelPath), warn: () => undefined, ranks }).trainer
    if (checkpoint !== null) this.trainer!.restore(checkpoint)
    this.model.decoder.together = { begin: () => undefined, agree: (ids) => this.control.agree(ids), go: () => this.control.go(false) }
  }

  /** What else becomes of a run whose disk is full, or that another rank could not save, is the first rank's to say. */
  private save({ folder, what }: Extract<Task, { kind: 'save' }>): void {
    try {
      this.control.write(() => { if (what === 'state') this.trainer!.writeRank(folder); else writeWeights(folder, this.model.decoder.parameters, this.ranks) })
    } catch (error) {
      if (!isDiskFull(error) && !isOfAnother(error)) throw error
    }
  }

  private evaluate(rows: RowReader): void {
    const { plan, model: { decoder } } = this
    noGrad(() => {
      const walk = evaluateSteps(decoder, rows, { rows: plan.batch.evalSize, tokens: undefined }, this.ranks)
      while (this.control.go(false) && !walk.next().done);
    })
  }
}
