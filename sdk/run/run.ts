import type { Table } from 'apache-arrow'
import { randomUUID } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import * as path from 'node:path'
import { FettleError, reviveError, serializeError, WorkerError } from '../errors'
import type { GenerationOptions } from '../plan/options'
import type { GenerationPlan, Plan } from '../plan/plan'
import { countOomKills, explainDeath, lastLines } from './death'
import type { EvalEvent, RunEvent } from './events'
import { hasCheckpoint, metricsName } from './folder'
import { PieceQueue, readGenerateOptions } from './generate'
import { EventLog } from './log'
import type { StepColumns } from './metrics'
import type { ChatReply, Command, FromWorker } from './protocol'
import { resultOf, type RunResult } from './result'
import { WorkerProcess, type Exit } from './worker-process'

/** Where a run stands. */
export type RunState = 'starting' | 'training' | 'stopping' | 'finished' | 'stopped' | 'failed'

/** Options of `.start()`. */
export interface StartOptions {
  /** Called with each event as it comes. */
  readonly onEvent?: (event: RunEvent) => void
  /** Called while data is prepared and the model read. */
  readonly onProgress?: (progress: RunProgress) => void
  /** The worker must answer within so many ms after its start. Default 60000. */
  readonly startTimeout?: number
}

/** How far a long step before training is. */
export interface RunProgress { readonly stage: string; readonly done: number; readonly total: number | null }

/** Options of `run.generate()` and `run.stream()`; left out, each is as in the plan's `.sample()`. */
export interface GenerateOptions extends GenerationOptions {
  /** Put the prompt into the chat template, as in training. Default: true, unless the plan's template is 'none'. */
  readonly chat?: boolean
  /** Called with each piece of text as it is made; `row` counts the prompts from 0. */
  readonly onToken?: (text: string, row: number) => void
}

/**
 * A run in its worker process, seen from a notebook, script or command line. Iterate over it for its events:
 * `for await (const event of run)`; a reader that comes late gets all of them from the first.
 */
export class Run implements AsyncIterable<RunEvent> {
  /** Names this run among others of this process. */
  readonly id: string = randomUUID().slice(0, 8)
  /** The output folder: checkpoints, metrics.jsonl, worker.log, final weights. */
  readonly dir: string
  /** The plan that the worker runs, checked and frozen. */
  readonly plan: Plan
  /** The result, or the typed error that ended the run. Nothing breaks when nobody waits for it. */
  readonly done: Promise<RunResult>

  readonly #log = new EventLog()
  readonly #worker: WorkerProcess
  readonly #options: StartOptions
  readonly #oomBefore = countOomKills()
  #state: RunState = 'starting'
  #resolve!: (result: RunResult) => void
  #reject!: (error: Error) => void
  #timer: NodeJS.Timeout
  #closing = false
  #exited!: () => void
  readonly #exit = new Promise<void>((resolve) => { this.#exited = resolve })

  /** @internal Use `start(plan)`. */
  constructor(plan: Plan, dir: string, entry: string, options: StartOptions) {
    this.plan = plan
    this.dir = dir
    this.#options = options
    this.done = new Promise((resolve, reject) => { this.#resolve = resolve; this.#reject = reject })
    this.done.catch(() => { /* Whoever awaits `done` gets the error; a run that nobody awaits must not end the process. */ })
    const limit = options.startTimeout ?? 60_000
    // A front that was busy for so long itself finds the answer waiting when it looks: it gets a second to do so.
    this.#timer = setTimeout(() => { this.#timer = setTimeout(() => this.#tooLate(limit), 1000) }, limit)
    this.#worker = new WorkerProcess({ kind: 'start', plan }, dir, entry, { onMessage: (message) => this.#receive(message), onExit: (exit) => this.#onExit(exit) })
  }

  /** Where the run stands now; once `finished`, `stopped` or `failed` it stays so, and `done` settles. */
  get state(): RunState { return this.#state }
  /** Process id of the worker. */
  get pid(): number { return this.#worker.pid }
  /** True while the worker can answer `generate()`: until `close()`, or its death. */
  get alive(): boolean { return this.#worker.exited === null && !this.#closing }
  /** All events so far, oldest first. */
  get events(): readonly RunEvent[] { return this.#log.events }
  /** Step events as an Arrow table, up to date at each look. */
  get metrics(): Table<StepColumns> { return this.#log.metrics }

  [Symbol.asyncIterator](): AsyncGenerator<RunEvent, void, undefined> { return this.#log.read() }

  /** Stops after the step that runs, with a checkpoint, and waits for it. `.resume()` goes on from there. */
  async stop(): Promise<RunResult> {
    if (this.#state === 'starting' || this.#state === 'training') {
      this.#state = 'stopping'
      await this.#worker.request({ name: 'stop' }).catch((error: Error) => {
        // A worker that ended meanwhile has said more in `done` than that it is gone.
        if (!this.#settled && !this.#worker.exited) throw error
      })
    }
    return this.done
  }

  /** Writes a checkpoint now (between two steps) and gives its path. */
  async save(): Promise<string> { return (await this.#worker.request({ name: 'save' })).path }

  /** Evaluates on the dev rows now (between two steps). */
  async evaluate(): Promise<EvalEvent> { return this.#worker.request({ name: 'evaluate' }) }

  /** Answers with the live weights: between two steps while training, and after it until `close()`. */
  generate(prompt: string, options?: GenerateOptions): Promise<string>
  generate(prompts: readonly string[], options?: GenerateOptions): Promise<string[]>
  async generate(prompt: string | readonly string[], options: GenerateOptions = {}): Promise<string | string[]> {
    const { prompts, generation, chat } = readGenerateOptions(this.plan, prompt, options)
    const texts = await this.#generate(prompts, generation, chat, options.onToken)
    return typeof prompt === 'string' ? texts[0] : texts
  }

  /** The same for one prompt, piece by piece: `for await (const text of run.stream('Hello!'))`. */
  stream(prompt: string, options: GenerateOptions = {}): AsyncIterable<string> {
    const { prompts, generation, chat } = readGenerateOptions(this.plan, prompt, options)
    const queue = new PieceQueue<string>()
    const onToken = (text: string) => { queue.push(text); options.onToken?.(text, 0) }
    this.#generate(prompts, generation, chat, onToken).then(() => queue.end(), (error: Error) => queue.fail(error))
    return queue
  }

  async #generate(prompts: readonly string[], generation: GenerationPlan, chat: boolean, onToken: GenerateOptions['onToken']): Promise<string[]> {
    const reply = await this.#worker.request({ name: 'generate', prompts, generation, chat }, onToken && ((row, text) => onToken(text, row)))
    return [...reply.texts]
  }

  /** @internal For `chat(run)`: one answer of a conversation; `signal` ends it with what it has. */
  converse(question: Omit<Extract<Command, { name: 'chat' }>, 'name'>, onText: (text: string) => void, signal: AbortSignal): Promise<ChatReply> {
    return this.#worker.request({ name: 'chat', ...question }, (_, text) => onText(text), signal)
  }

  /** Ends the worker and frees its memory; a run that still trains is stopped first. */
  async close(): Promise<void> {
    if (this.#worker.exited) return
    if (!this.#settled) await this.stop().catch(() => { /* `done` tells it. */ })
    if (!this.alive) return this.#exit
    this.#closing = true
    const forced = setTimeout(() => this.kill(), 10_000)
    await this.#worker.request({ name: 'close' }).catch(() => { /* It may end before it answers. */ })
    await this.#exit
    clearTimeout(forced)
  }

  /** Ends the worker at once, without a checkpoint. */
  kill(): void { this.#worker.kill() }

  #receive(message: FromWorker): void {
    clearTimeout(this.#timer)
    if (message.kind === 'progress') this.#options.onProgress?.({ stage: message.stage, done: message.done, total: message.total })
    if (message.kind === 'event') this.#take(message.event)
  }

  #take(event: RunEvent): void {
    this.#log.push(event)
    if (event.type === 'started' && this.#state === 'starting') this.#state = 'training'
    if (event.type === 'done') this.#settle(event.stopped ? 'stopped' : 'finished')
    if (event.type === 'failed') this.#settle('failed', reviveError(event.error))
    this.#options.onEvent?.(event)
  }

  #settle(state: RunState, error?: FettleError): void {
    if (this.#settled) return
    this.#state = state
    this.#log.end()
    if (error) this.#reject(error)
    else this.#resolve(resultOf(this.dir, this.#log))
    this.#worker.idle()
    if (error) void this.close()
  }

  get #settled(): boolean { return this.#state === 'finished' || this.#state === 'stopped' || this.#state === 'failed' }

  #onExit({ code, signal }: Exit): void {
    clearTimeout(this.#timer)
    this.#exited()
    if (this.#settled) return
    const step = this.#log.last('step')
    const error = explainDeath({ pid: this.pid, code, signal, step: step?.step ?? null, memory: step?.memory ?? null, oomBefore: this.#oomBefore, log: this.#worker.log, checkpoint: hasCheckpoint(this.dir) })
    this.#failHere(error)
  }

  #tooLate(limit: number): void {
    const log = this.#worker.log
    const tail = lastLines(log)
    const error = new WorkerError('worker.start', `the worker (process ${this.pid}) did not answer within ${limit / 1000} s of its start; try npm run doctor, or a longer startTimeout${tail ? `\n  last lines of ${log}:\n${tail}` : ` (its log ${log} is empty)`}`, { pid: this.pid, limit, log })
    this.#failHere(error)
    this.kill()
  }

  /** The worker cannot say any more that it failed, so the front says it, in the log too. */
  #failHere(error: FettleError): void {
    const event: RunEvent = { type: 'failed', time: Date.now(), error: serializeError(error) }
    try { appendFileSync(path.join(this.dir, metricsName), `${JSON.stringify(event)}\n`) } catch { /* The folder is gone; the error below still tells the story. */ }
    this.#log.push(event)
    this.#settle('failed', error)
    this.#options.onEvent?.(event)
  }
}
