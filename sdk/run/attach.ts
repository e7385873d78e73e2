import { createHash } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { FettleError, PlanError, reviveError, WorkerError } from '../errors'
import type { Plan } from '../plan/plan'
import { refusal } from '../plan/refuse'
import { controlName, livesHere, readControl, type ControlRecord } from './control'
import { ControlClient } from './control-client'
import { startAgain } from './death'
import type { RunEvent } from './events'
import { hasCheckpoint, metricsName, workerLogName } from './folder'
import { RunHandle, type RunProgress } from './handle'
import type { Command, FromWorker, Replies } from './protocol'
import { isTurn, newest, readLines, reviveNumbers, verdict, type Verdict } from './read-log'
import type { OnToken } from './requests'
import { resultOf, type RunResult } from './result'
import { unreachable } from './unreachable'

/**
 * A run that was started elsewhere, found in its output folder: its history is read from metrics.jsonl, and while its worker
 * lives, on this host and under this user, it is controlled over the worker's socket. While this handle is open a detached
 * run's worker stays after its last step, to answer.
 */
export class AttachedRun extends RunHandle {
  readonly #file: string
  #offset = 0
  #state: Verdict = 'starting'
  #timer: NodeJS.Timeout | null = null
  #client: Promise<ControlClient> | null = null
  /** Token of the worker that was tried last, so that one that does not answer is not tried at each look. */
  #tried: string | null = null
  #record: ControlRecord | null = null
  #progress: RunProgress | null = null
  #closed = false

  /** @internal Use `attach(dir)`. */
  constructor(dir: string, interval: number) {
    super(path.resolve(dir))
    this.#file = path.join(this.dir, metricsName)
    this.#look()
    if (!this.#over) this.#timer = setInterval(() => this.#look(), interval)
  }

  get id(): string {
    const turn = newest(this.log.events, (event) => isTurn(event) && event.run !== undefined)
    if (turn && isTurn(turn)) return turn.run!
    // Logs from before runs had names; and the moments before a run's first event.
    return this.#record?.run ?? createHash('sha256').update(this.dir).digest('hex').slice(0, 8)
  }

  /** Where the run stood at the last look; `crashed` when its worker is gone without a word. */
  get state(): Verdict { return this.#state }
  get done(): Promise<RunResult> { return this.settled }
  get progress(): RunProgress | null { return this.#progress }
  /** Always true: this process did not start the run, and does not end it. */
  get detached(): boolean { return true }

  /** Stops watching; the run itself goes on. `done` of a run that is not over is then rejected with `run.closed`. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#rest()
    void this.#client?.then((client) => client.close(), () => { /* It never opened. */ })
    this.reject(new WorkerError('run.closed', `this handle of the run in ${this.dir} was closed while it was ${this.#state}; attach(folder) sees it again`, { dir: this.dir, state: this.#state }))
  }

  async stop(): Promise<RunResult> {
    if (!this.#over) {
      await this.request({ name: 'stop' }).catch((error: Error) => {
        this.#look()
        if (!this.#over) throw error
      })
    }
    return this.done
  }

  /** @internal */
  async request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: OnToken, signal?: AbortSignal): Promise<Replies[N]> {
    const client = await this.#connect()
    try {
      const value = await client.request(command, onToken, signal)
      // JSON has no NaN.
      return command.name === 'evaluate' ? reviveNumbers(value as Replies['evaluate']) as Replies[N] : value
    } finally {
      this.#look() // what the command changed stands in the log
    }
  }

  /** True while the run's worker lives and can be reached from here. */
  get alive(): boolean {
    const record = this.#closed ? null : readControl(this.dir)
    return record !== null && record.socket !== null && livesHere(record)
  }
  /** The plan that the worker runs; `null` once no worker lives. */
  get plan(): Plan | null { return readControl(this.dir)?.plan ?? null }

  protected runningPlan(): Plan {
    const { plan } = this
    if (plan === null) throw unreachable(this.dir, this.#closed ? 'closed' : this.#state, null, this.log.last('started')?.host)
    return plan
  }

  get #over(): boolean { return this.#state !== 'starting' && this.#state !== 'training' && this.#state !== 'paused' }

  /** The open connection, or a new one to the worker that lives; throws why there is none. */
  async #connect(): Promise<ControlClient> {
    const open = await this.#client?.catch(() => null)
    if (open?.open && !this.#closed) return open
    const record = readControl(this.dir), host = this.log.last('started')?.host
    if (this.#closed || record === null || record.socket === null || !livesHere(record)) {
      throw unreachable(this.dir, this.#closed ? 'closed' : this.#state, record, host)
    }
    this.#client = this.#dial(record)
    return this.#client.catch(() => { throw unreachable(this.dir, this.#state, record, host) })
  }

  #dial(record: ControlRecord): Promise<ControlClient> {
    this.#tried = record.token
    this.#record = record
    const client = ControlClient.connect(record, (message) => this.#receive(message), () => { this.#progress = null })
    client.catch(() => { /* Whoever asks for it is told; the log is read all the same. */ })
    return client
  }

  #receive(message: FromWorker): void {
    if (message.kind === 'progress') this.#progress = { stage: message.stage, done: message.done, total: message.total }
  }

  #look(): void {
    const { events, offset } = readLines(this.#file, this.#offset)
    if (this.#offset === 0 && this.#isOfEarlier(events)) return
    this.#offset = offset
    for (const event of events) {
      this.log.push(event)
      if (event.type === 'started') this.#progress = null
    }
    if (this.#timer === null && this.#over) return
    this.#judge()
    if (!this.#over) return
    this.#rest()
    if (this.#state === 'finished' || this.#state === 'stopped') this.resolve(resultOf(this.dir, this.log))
    else this.reject(this.#failure())
  }

  /** A worker lives that goes on from a checkpoint, and has not taken over the log of the run before: that log will be cut. */
  #isOfEarlier(events: readonly RunEvent[]): boolean {
    const record = readControl(this.dir)
    const turn = newest(events, (event) => isTurn(event) && event.type !== 'prepared')
    if (record === null || turn === undefined || turn.time >= record.time || !livesHere(record)) return false
    this.#reach(record)
    return true
  }

  /** The log's word, unless a worker died before it could write. */
  #judge(): void {
    this.#state = verdict(this.log.events, Date.now())
    if (this.#over || (this.#state !== 'starting' && this.#tried !== null)) return
    const record = readControl(this.dir)
    // A worker writes its record before anything else: without one, and silent for long, it never came so far.
    if (record === null && this.#state === 'starting' && quietFor(this.#file) > silentStart) this.#state = 'crashed'
    if (record === null) return
    if (livesHere(record)) return this.#reach(record)
    if (record.host !== os.hostname() || this.#state !== 'starting') return
    this.#record = record
    this.#state = 'crashed'
  }

  /** Connects to a worker that was not tried before, to hear its progress; and a detached one stays while we are connected. */
  #reach(record: ControlRecord): void {
    if (this.#tried === record.token) return
    this.#record = record
    if (record.socket !== null) this.#client = this.#dial(record)
  }

  #rest(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
    this.#progress = null
    this.log.end()
  }

  #failure(): FettleError {
    const failed = this.log.last('failed')
    if (this.#state === 'failed' && failed) return reviveError(failed.error)
    const pid = this.#record?.pid ?? this.log.last('started')?.pid ?? null
    const step = this.log.last('step')?.step ?? 0
    return new WorkerError('worker.vanished', `the worker of ${this.dir}${pid === null ? '' : ` (process ${pid})`} ended without a word after step ${step}; ${startAgain(hasCheckpoint(this.dir)).calls}`, { dir: this.dir, pid, step })
  }
}

/** ms that a worker may take until it has written anything. */
const silentStart = 60_000

/** ms since a file was written last; `Infinity` where there is none. */
function quietFor(file: string): number {
  const stat = statSync(file, { throwIfNoEntry: false })
  return stat === undefined ? Infinity : Date.now() - stat.mtimeMs
}

/**
 * Finds a run in its output folder, whoever started it: one that trains, with all controls of `Run`, or one that is
 * finished, failed or crashed, with its whole history; `done` settles accordingly. The controls of a run that is over, or
 * runs on another host, throw a `WorkerError` that says what to do instead.
 * Throws a `PlanError` where there is no metrics.jsonl.
 */
export async function attach(dir: string, options: { /** Looks at the file each so many ms. Default 300. */ readonly interval?: number } = {}): Promise<AttachedRun> {
  if (typeof dir !== 'string') throw refusal('attach()', 'the output folder of a run', dir, "attach('output')")
  const folder = path.resolve(dir)
  const found = () => existsSync(path.join(folder, metricsName)) || existsSync(path.join(folder, controlName))
  // A worker that was only just forked has its log, and will say where it is in a moment.
  for (let tries = 100; tries > 0 && !found() && quietFor(path.join(folder, workerLogName)) < silentStart; tries--) await new Promise((resolve) => setTimeout(resolve, 100))
  if (!found()) {
    throw new PlanError('run.noLog', `expected ${metricsName} in ${folder}, found none; try the output folder of a run that has started`, { dir: folder })
  }
  return new AttachedRun(dir, options.interval ?? 300)
}
