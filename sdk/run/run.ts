import { appendFileSync, rmSync } from 'node:fs'
import * as path from 'node:path'
import { FettleError, reviveError, serializeError, WorkerError } from '../errors'
import type { Meeting } from '../parallel/meet'
import { worldSize } from '../parallel/mesh/mesh'
import { meshShape } from '../parallel/mesh/shape'
import type { Plan } from '../plan/plan'
import { newRunId } from './control'
import { countOomKills, explainDeath, logTail, startAgain } from './death'
import type { RunEvent } from './events'
import { hasCheckpoint, metricsName } from './folder'
import { RunHandle, type RunProgress, type RunState } from './handle'
import { HangWatch } from './hang'
import type { Command, FromWorker, Replies } from './protocol'
import type { OnToken } from './requests'
import { resultOf, type RunResult } from './result'
import type { Tokens } from '../secret'
import { WorkerProcess, type Exit } from './worker-process'

export type { GenerateOptions, RunProgress, RunState } from './handle'

/** ms after which ranks that neither speak nor compute count as hung. */
const ranksHangLimit = 9000

/** Options of `.start()`. */
export interface StartOptions {
  /** Called with each event as it comes. */
  readonly onEvent?: (event: RunEvent) => void
  /** Called while data is prepared and the model read. */
  readonly onProgress?: (progress: RunProgress) => void
  /** The worker must answer within so many ms after its start. Default 60000. */
  readonly startTimeout?: number
  /**
   * While it trains the worker must tell something or compute within so many ms; else it counts as hung, is killed, and the
   * run fails with a `WorkerError` `worker.hung`. Default 120000, of several ranks that it starts itself 9000. Where the system has no /proc nothing is found.
   */
  readonly hangTimeout?: number
  /**
   * True: the worker outlives this process, however that ends; `attach(output)` finds it from any process of this user on
   * this host. It ends after its last step when nobody is connected. This process stays alive for it only while `done` or the
   * events are awaited. Default false: the run stops with this process, leaving a checkpoint.
   */
  readonly detached?: boolean
  /** Access tokens for the hubs that it fetches from and uploads to. Default: those of the environment. */
  readonly tokens?: Tokens
  /** This process is the first of ranks that a launcher started: where it meets the others. Default: it starts them itself. */
  readonly meeting?: Meeting
  /** In a notebook: draw the run's board under the cell. Default true; `show(run)` draws it later. */
  readonly board?: boolean
}

/**
 * A run in its worker process, seen from the notebook, script or command line that started it. Iterate over it for its
 * events: `for await (const event of run)`; a reader that comes late gets all of them from the first.
 */
export class Run extends RunHandle {
  readonly id: string = newRunId()
  /** The plan that the worker runs, checked and frozen. */
  readonly plan: Plan
  readonly detached: boolean

  #worker: WorkerProcess
  readonly #entry: string
  readonly #options: StartOptions
  readonly #oomBefore = countOomKills()
  #hang: HangWatch
  /** How often it was started again, and why it shall be once the worker has ended. */
  #restarts = 0
  #again: FettleError | null = null
  #state: RunState = 'starting'
  #training = false
  #progress: RunProgress | null = null
  #timer: NodeJS.Timeout
  #closing = false
  #exited!: () => void
  readonly #exit = new Promise<void>((resolve) => { this.#exited = resolve })

  /** @internal Use `start(plan)`. */
  constructor(plan: Plan, dir: string, entry: string, options: StartOptions) {
    super(dir)
    this.plan = plan
    this.#options = options
    this.#entry = entry
    this.detached = options.detached ?? false
    ;[this.#worker, this.#hang, this.#timer] = this.#launch(plan)
  }

  #launch(plan: Plan): [WorkerProcess, HangWatch, NodeJS.Timeout] {
    const { detached } = this, { startTimeout = 60_000, meeting, tokens } = this.#options, many = worldSize(meshShape(plan.mesh)) > 1
    const timer = setTimeout(() => this.#tooLate(startTimeout), startTimeout)
    if (detached) timer.unref()
    const worker = new WorkerProcess({ kind: 'start', plan, run: this.id, detached, ...(meeting === undefined ? {} : { meeting }) }, this.dir, this.#entry, {
      onMessage: (message) => this.#receive(message),
      onExit: (exit) => this.#onExit(exit),
    }, detached, tokens)
    // Ranks wait for each other: one that hangs keeps all of them from working, and is found soon.
    const hangLimit = this.#options.hangTimeout ?? (many && meeting === undefined ? ranksHangLimit : 120_000)
    return [worker, new HangWatch(worker.pid, hangLimit, () => this.#hung(hangLimit), many), timer]
  }

  /** Where the run stands. The worker lives on after `finished` and `stopped`, to answer, until `close()`. */
  get state(): RunState { return this.#state }
  get progress(): RunProgress | null { return this.#progress }
  /** Process id of the worker. */
  get pid(): number { return this.#worker.pid }
  /** True while the worker can answer `generate()`: until `close()`, or its death. */
  get alive(): boolean { return this.#worker.exited === null && this.#worker.connected && !this.#closing }

  get done(): Promise<RunResult> {
    this.#hold()
    return this.settled
  }

  /**
   * Settles when the worker has ended or was let go.
   * @internal
   */
  get gone(): Promise<void> { return this.#exit }

  override [Symbol.asyncIterator](): AsyncGenerator<RunEvent, void, undefined> {
    this.#hold()
    return super[Symbol.asyncIterator]()
  }

  /** @internal */
  request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: OnToken, signal?: AbortSignal): Promise<Replies[N]> {
    return this.#worker.request(command, onToken, signal)
  }

  async stop(): Promise<RunResult> {
    if (!this.#settled && this.#state !== 'stopping') {
      this.#enter('stopping')
      await this.request({ name: 'stop' }).catch((error: Error) => {
        // A worker that ended meanwhile has said more in `done` than that it is gone.
        if (!this.#settled && this.alive) throw error
      })
    }
    return this.done
  }

  /**
   * Ends the worker and frees its memory; a run that still trains is stopped first. A detached one that trains goes on
   * without this handle, whose `done` is then rejected with `run.closed`.
   */
  async close(): Promise<void> {
    if (this.#worker.exited) return
    if (this.detached && this.#state !== 'failed') return this.#release()
    if (!this.#settled) await this.stop().catch(() => { /* `done` tells it. */ })
    // A worker that has closed its pipe, and not ended yet, would not keep this process alive.
    this.#worker.hold()
    if (!this.alive) return this.#exit
    this.#closing = true
    const forced = setTimeout(() => this.kill(), 10_000)
    await this.request({ name: 'close' }).catch(() => { /* It may end before it answers. */ })
    await this.#exit
    clearTimeout(forced)
  }

  /** Ends the worker at once, without a checkpoint. */
  kill(): void { this.#worker.kill() }

  protected runningPlan(): Plan { return this.plan }

  get #settled(): boolean { return this.#state === 'finished' || this.#state === 'stopped' || this.#state === 'failed' }

  /** Somebody waits for the run's end. */
  #hold(): void { if (!this.#settled && this.alive) this.#worker.hold() }

  #release(): void {
    if (!this.alive) return
    this.#closing = true
    clearTimeout(this.#timer)
    this.#hang.watch(false)
    this.#worker.release()
    this.log.end()
    if (!this.#settled) this.reject(new WorkerError('run.closed', `this handle of the run in ${this.dir} was closed while it was ${this.#state}; the worker (process ${this.pid}) goes on: attach(folder) sees it again`, { dir: this.dir, pid: this.pid, state: this.#state }))
    this.#exited()
  }

  #receive(message: FromWorker): void {
    clearTimeout(this.#timer)
    this.#hang.heard()
    if (message.kind === 'progress') {
      this.#progress = { stage: message.stage, done: message.done, total: message.total }
      this.#options.onProgress?.(this.#progress)
    }
    if (message.kind === 'event') this.#take(message.event)
  }

  #take(event: RunEvent): void {
    if (event.type === 'failed' && this.#restart(reviveError(event.error))) return
    this.log.push(event)
    if (event.type === 'started') {
      this.#training = true
      this.#progress = null
      this.#enter(this.#state === 'starting' ? 'training' : this.#state)
    }
    if (event.type === 'command') this.#follow(event.command)
    if (event.type === 'done') this.#settle(event.stopped ? 'stopped' : 'finished')
    if (event.type === 'failed') this.#settle('failed', reviveError(event.error))
    this.#options.onEvent?.(event)
  }

  /**
   * A rank that died takes the run with it, which begins again from its last checkpoint as often as the plan allows.
   * @returns false when the plan does not
   */
  #restart(error: FettleError): boolean {
    if (!(error instanceof WorkerError) || this.#state === 'stopping' || this.#settled || this.#closing || this.#restarts >= this.plan.restart) return false
    this.#restarts++
    this.#hang.watch(false)
    const from = hasCheckpoint(this.dir) ? 'its last checkpoint' : 'the beginning'
    const event: RunEvent = { type: 'warning', time: Date.now(), code: 'run.restart', message: `${error.message}. The run goes on from ${from} (restart ${this.#restarts} of ${this.plan.restart}).` }
    this.#note(event)
    this.#take(event)
    this.#again = error
    if (this.#worker.exited) this.#begin()
    else this.kill()
    return true
  }

  /** Another worker, when the one before has ended. */
  #begin(): void {
    this.#again = null
    this.#training = false
    this.#state = 'starting'
    if (!hasCheckpoint(this.dir)) rmSync(path.join(this.dir, metricsName), { force: true })
    ;[this.#worker, this.#hang, this.#timer] = this.#launch(hasCheckpoint(this.dir) ? { ...this.plan, resume: true } : this.plan)
    this.#hold()
  }

  /** A command that was taken, from this front or another. */
  #follow(command: string): void {
    if (command === 'stop' && !this.#settled) this.#enter('stopping')
    if (command === 'pause' && this.#state === 'training') this.#enter('paused')
    if (command === 'resume' && this.#state === 'paused') this.#enter('training')
  }

  #enter(state: RunState): void {
    this.#state = state
    this.#hang.watch(this.#training && (state === 'training' || state === 'stopping'))
  }

  #settle(state: RunState, error?: FettleError): void {
    if (this.#settled) return
    this.#progress = null
    this.#enter(state)
    this.log.end()
    if (error) this.reject(error)
    else this.resolve(resultOf(this.dir, this.log))
    this.#worker.idle()
    if (error) void this.close()
  }

  #onExit({ code, signal }: Exit): void {
    clearTimeout(this.#timer)
    this.#hang.watch(false)
    if (this.#again !== null) return this.#begin()
    if (this.#settled || this.#closing) return this.#exited()
    const step = this.log.last('step')
    const error = explainDeath({ pid: this.pid, code, signal, step: step?.step ?? null, memory: step?.memory ?? null, oomBefore: this.#oomBefore, plan: this.plan, log: this.#worker.log, checkpoint: hasCheckpoint(this.dir) })
    if (this.#restart(error)) return
    this.#exited()
    this.#failHere(error)
  }

  #tooLate(limit: number): void {
    const { log } = this.#worker
    const error = new WorkerError('worker.start', `the worker (process ${this.pid}) did not answer within ${limit / 1000} s of its start; try npm run doctor, or a longer startTimeout${logTail(log)}`, { pid: this.pid, limit, log })
    this.#failHere(error)
    this.kill()
  }

  #hung(limit: number): void {
    const { log } = this.#worker, { pid } = this, step = this.log.last('step')?.step ?? 0
    const again = startAgain(hasCheckpoint(this.dir)), more = 'if it only waits long (a slow disk, a stopped process), a longer .start({ hangTimeout }) gives it time'
    const remedy = `${again.calls}; ${more}`
    const error = new WorkerError('worker.hung', `rank 0 (process ${pid}) hangs after step ${step}: for ${limit / 1000} s it neither said anything nor computed, and was ended; ${remedy}${logTail(log)}`, { rank: 0, pid, step, limit, log, remedy, remedyFlags: `${again.flags}; ${more}` })
    if (this.#restart(error)) return
    this.#failHere(error)
    this.kill()
  }

  /** In the log of the folder, where no worker writes now. */
  #note(event: RunEvent): void {
    try { appendFileSync(path.join(this.dir, metricsName), `${JSON.stringify(event)}\n`) } catch { /* The folder is gone; the error still tells the story. */ }
  }

  /** The worker cannot say any more that it failed, so the front says it, in the log too. */
  #failHere(error: FettleError): void {
    const event: RunEvent = { type: 'failed', time: Date.now(), run: this.id, error: serializeError(error) }
    this.#note(event)
    this.log.push(event)
    this.#settle('failed', error)
    this.#options.onEvent?.(event)
  }
}
