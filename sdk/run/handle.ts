import type { Table } from 'apache-arrow'
import { checkpoints, type CheckpointList, type CheckpointsOptions } from '../inspect/checkpoints'
import type { GenerationOptions } from '../plan/options'
import type { GenerationPlan, Plan } from '../plan/plan'
import { Profile } from '../profile/profile'
import type { EvalEvent, RunEvent, SampleEvent } from './events'
import { PieceQueue, readGenerateOptions } from './generate'
import { EventLog } from './log'
import { RunMesh } from './mesh'
import type { StepColumns } from './metrics'
import { readProfileOptions, type ProfileOptions } from './profile-options'
import { readSettings } from './rate'
import type { ChatReply, Command, Replies } from './protocol'
import type { OnToken } from './requests'
import type { RunResult } from './result'

/** Where a run stands. */
export type RunState = 'starting' | 'training' | 'paused' | 'stopping' | 'finished' | 'stopped' | 'failed'

/** How far a long step before training is. */
export interface RunProgress {
  /** What is being done, in words. */
  readonly stage: string
  /** How much of it is done, in the stage's own unit (rows, bytes). */
  readonly done: number
  /** Of how much; `null` while that is not known. */
  readonly total: number | null
}

/** Options of `run.generate()` and `run.stream()`; left out, each is as in the plan's `.sample()`. */
export interface GenerateOptions extends GenerationOptions {
  /** Put the prompt into the chat template, as in training. Default: true, unless the plan's template is 'none'. */
  readonly chat?: boolean
  /** Called with each piece of text as it is made; `row` counts the prompts from 0. */
  readonly onToken?: (text: string, row: number) => void
}

/**
 * What every handle of a run can do, whether this process started it (`Run`) or it was found in its output folder
 * (`AttachedRun`). Each control is taken between two steps, stands as a `command` event in metrics.jsonl, and is refused
 * with a `PlanError` `run.state` where it makes no sense. While data and model are prepared controls wait for training to
 * begin, but for `stop`, which ends the run at once.
 */
export abstract class RunHandle implements AsyncIterable<RunEvent> {
  /** The output folder: checkpoints, metrics.jsonl, worker.log, final weights. Of a run on another host `ssh://HOST/PATH`, as `attach()` takes it. */
  readonly dir: string
  /** @internal */
  protected readonly log: EventLog
  /** @internal */
  protected readonly settled: Promise<RunResult>
  /** @internal */
  protected resolve!: (result: RunResult) => void
  /** @internal */
  protected reject!: (error: Error) => void

  /** @internal */
  protected constructor(dir: string, log = new EventLog()) {
    this.dir = dir
    this.log = log
    this.settled = new Promise((resolve, reject) => { this.resolve = resolve; this.reject = reject })
    this.settled.catch(() => { /* Whoever awaits `done` gets the error; a run that nobody awaits must not end the process. */ })
  }

  /** Names the run: the same for every handle of it, in any process, and new with each start. */
  abstract get id(): string
  /** Where the run stands. */
  abstract get state(): string
  /** The result, or the typed error that ended the run. Nothing breaks when nobody waits for it. */
  abstract get done(): Promise<RunResult>
  /** The long step before training that runs now (download, preparing, reading weights); `null` once training began. */
  abstract get progress(): RunProgress | null
  /** True when the end of this process does not end the run. */
  abstract get detached(): boolean

  /**
   * Sends a command and waits for its reply.
   * @internal
   */
  abstract request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: OnToken, signal?: AbortSignal): Promise<Replies[N]>

  /** True while a worker lives that answers. */
  abstract get alive(): boolean

  /**
   * One answer in a conversation, for `chat()`.
   * @internal
   */
  converse(question: Omit<Extract<Command, { name: 'chat' }>, 'name'>, onText: (text: string) => void, signal: AbortSignal): Promise<ChatReply> {
    return this.request({ name: 'chat', ...question }, (_row, text) => onText(text), signal)
  }

  /**
   * The plan that the worker runs.
   * @internal
   */
  protected abstract runningPlan(): Plan

  /** All events so far, oldest first. */
  get events(): readonly RunEvent[] { return this.log.events }
  /** The ranks that train: their places, and their layers once the model is read. It draws itself. */
  get mesh(): RunMesh { return new RunMesh(this.runningPlan().mesh, this.log.last('started') ?? null) }
  /** Step events as an Arrow table, up to date at each look. */
  get metrics(): Table<StepColumns> { return this.log.metrics }

  [Symbol.asyncIterator](): AsyncGenerator<RunEvent, void, undefined> { return this.log.read() }

  /** Stops after the step that runs, with a checkpoint, and waits for it. `.resume()` of the builder goes on from there. */
  abstract stop(): Promise<RunResult>

  /** Waits between two steps until `resume()`; all other controls work meanwhile. Resolves when the run stands still. */
  async pause(): Promise<void> { await this.request({ name: 'pause' }) }

  /** Goes on after `pause()`, as if there had been none. */
  async resume(): Promise<void> { await this.request({ name: 'resume' }) }

  /** Writes a checkpoint now (between two steps) and gives its path. */
  async save(): Promise<string> { return (await this.request({ name: 'save' })).path }

  /** Evaluates on the dev rows now (between two steps). A stop that comes meanwhile ends it with `run.leaving`. */
  async evaluate(): Promise<EvalEvent> { return this.request({ name: 'evaluate' }) }

  /** Checkpoints in the run's folder: step, size, whole or broken, losses, and which of them `.resume()` would take. */
  checkpoints(options: CheckpointsOptions = {}): Promise<CheckpointList> { return checkpoints(this.dir, options) }

  /** Answers the plan's sample prompts now (between two steps). A stop that comes meanwhile ends it with `run.leaving`. */
  async sample(): Promise<SampleEvent> { return this.request({ name: 'sample' }) }

  /**
   * Changes a setting of the run that goes on. `learningRate`, a number from 0 on, takes the place of the plan's base rate
   * from the next step on: the schedule (warm-up, decay) still scales it, so that a step's own rate may be lower. Checkpoints
   * keep it, and a resume goes on with it unless its plan names another base rate than the checkpoint's plan.
   */
  async set(values: { readonly learningRate: number }): Promise<void> {
    await this.request({ name: 'set', learningRate: readSettings(values) })
  }

  /**
   * Looks into the next steps: where their time and memory go by layer and block, and which share of the machine's limit for matrix
   * products they reach. As a cell's last value it draws itself; the worker leaves `profile-STEP.json` and `profile-STEP.trace.json` in
   * the output folder. The steps train as all others do. Of many ranks each is recorded, where they share a file system.
   * @throws PlanError `run.state` for a run that does not train any more, `run.leaving` when it ends before a step was recorded, `plan.value`
   */
  async profile(options: ProfileOptions = {}): Promise<Profile> {
    const { data, file, trace } = await this.request({ name: 'profile', ...readProfileOptions(options) })
    return new Profile(data, { json: file, trace })
  }

  /**
   * Answers with the live weights: between two steps while training, and after it while the worker lives. An answer that a
   * stop meets ends with what it has.
   */
  generate(prompt: string, options?: GenerateOptions): Promise<string>
  generate(prompts: readonly string[], options?: GenerateOptions): Promise<string[]>
  async generate(prompt: string | readonly string[], options: GenerateOptions = {}): Promise<string | string[]> {
    const { prompts, generation, chat } = readGenerateOptions(this.runningPlan(), prompt, options)
    const texts = await this.#generate(prompts, generation, chat, options.onToken)
    return typeof prompt === 'string' ? texts[0] : texts
  }

  /** The same for one prompt, piece by piece: `for await (const text of run.stream('Hello!'))`. Leaving the loop ends the answer. */
  stream(prompt: string, options: GenerateOptions = {}): AsyncIterable<string> {
    const { prompts, generation, chat } = readGenerateOptions(this.runningPlan(), prompt, options)
    const left = new AbortController(), queue = new PieceQueue<string>(() => left.abort())
    const onToken = (text: string) => { queue.push(text); options.onToken?.(text, 0) }
    this.#generate(prompts, generation, chat, onToken, left.signal).then(() => queue.end(), (error: Error) => queue.fail(error))
    return queue
  }

  async #generate(prompts: readonly string[], generation: GenerationPlan, chat: boolean, onToken: GenerateOptions['onToken'], signal?: AbortSignal): Promise<string[]> {
    const reply = await this.request({ name: 'generate', prompts, generation, chat }, onToken && ((row, text) => onToken(text, row)), signal)
    return [...reply.texts]
  }
}
