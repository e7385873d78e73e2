import { createHash } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { PlanError, reviveError, WorkerError, type FettleError } from '../errors'
import type { Plan } from '../plan/plan'
import { controlName, livesHere, readControl, type ControlRecord } from './control'
import { ControlClient } from './control-client'
import { logTail, startAgain } from './death'
import type { RunEvent } from './events'
import { hasCheckpoint, launchLogName, metricsName, workerLogName } from './folder'
import type { RunProgress } from './handle'
import { EventLog } from './log'
import type { Command, FromWorker, Replies } from './protocol'
import { isOver, isTurn, newest, readLines, verdict, type Verdict } from './read-log'
import type { OnToken } from './requests'
import type { RunSource } from './source'
import { unreachable } from './unreachable'

/** A run seen in its output folder: its history is metrics.jsonl, and its worker, where that lives on this host, is asked over its socket. */
export class FolderSource implements RunSource {
  readonly dir: string
  readonly log = new EventLog()
  readonly #file: string
  readonly #interval: number
  #onChange: () => void = () => undefined
  #offset = 0
  #state: Verdict = 'starting'
  #timer: NodeJS.Timeout | null = null
  #client: Promise<ControlClient> | null = null
  /** Token of the worker that was tried last, so that one that does not answer is not tried at each look. */
  #tried: string | null = null
  #record: ControlRecord | null = null
  #progress: RunProgress | null = null

  /** @param interval ms between two looks at the log */
  constructor(dir: string, interval: number) {
    this.dir = path.resolve(dir)
    this.#file = path.join(this.dir, metricsName)
    this.#interval = interval
  }

  watch(onChange: () => void): void {
    this.#onChange = onChange
    this.#look()
    if (!isOver(this.#state)) this.#timer = setInterval(() => this.#look(), this.#interval)
  }

  get id(): string {
    const turn = newest(this.log.events, (event) => isTurn(event) && event.run !== undefined)
    if (turn && isTurn(turn)) return turn.run!
    // Logs from before runs had names; and the moments before a run's first event.
    return this.#record?.run ?? createHash('sha256').update(this.dir).digest('hex').slice(0, 8)
  }

  get state(): Verdict { return this.#state }
  get progress(): RunProgress | null { return this.#progress }
  get plan(): Plan | null { return readControl(this.dir)?.plan ?? null }

  get alive(): boolean {
    const record = readControl(this.dir)
    return record !== null && record.socket !== null && livesHere(record)
  }

  close(): void {
    this.#rest()
    void this.#client?.then((client) => client.close(), () => { /* It never opened. */ })
  }

  async request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: OnToken, signal?: AbortSignal): Promise<Replies[N]> {
    try {
      const client = await this.#connect()
      return await client.request(command, onToken, signal)
    } finally {
      this.#look() // what the command changed stands in the log
    }
  }

  failure(): FettleError {
    const failed = this.log.last('failed')
    if (this.#state === 'failed' && failed) return reviveError(failed.error)
    const pid = this.#record?.pid ?? this.log.last('started')?.pid ?? null
    const step = this.log.last('step')?.step ?? 0, launch = path.join(this.dir, launchLogName)
    return new WorkerError('worker.vanished', `the worker of ${this.dir}${pid === null ? '' : ` (process ${pid})`} ended without a word after step ${step}; ${startAgain(hasCheckpoint(this.dir)).calls}${existsSync(launch) ? logTail(launch) : ''}`, { dir: this.dir, pid, step })
  }

  unreachable(record: ControlRecord | null = null): FettleError { return unreachable(this.dir, this.#state, record, this.log.last('started')?.host) }

  /** The open connection, or a new one to the worker that lives; throws why there is none. */
  async #connect(): Promise<ControlClient> {
    const open = await this.#client?.catch(() => null)
    if (open?.open) return open
    const record = readControl(this.dir)
    if (record === null || record.socket === null || !livesHere(record)) throw this.unreachable(record)
    this.#client = this.#dial(record)
    return this.#client.catch(() => { throw this.unreachable(record) })
  }

  #dial(record: ControlRecord): Promise<ControlClient> {
    this.#tried = record.token
    this.#record = record
    const client = ControlClient.connect(record, (message) => this.#receive(message), () => this.#show(null))
    client.catch(() => { /* Whoever asks for it is told; the log is read all the same. */ })
    return client
  }

  #receive(message: FromWorker): void {
    if (message.kind === 'progress') this.#show({ stage: message.stage, done: message.done, total: message.total })
  }

  #show(progress: RunProgress | null): void {
    this.#progress = progress
    this.#onChange()
  }

  #look(): void {
    this.#read()
    this.#onChange()
  }

  #read(): void {
    const { events, offset } = readLines(this.#file, this.#offset)
    if (this.#offset === 0 && this.#isOfEarlier(events)) return
    this.#offset = offset
    for (const event of events) {
      this.log.push(event)
      if (event.type === 'started') this.#progress = null
    }
    if (this.#timer === null && isOver(this.#state)) return
    this.#judge()
    if (isOver(this.#state)) this.#rest()
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
    if (isOver(this.#state) || (this.#state !== 'starting' && this.#tried !== null)) return
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
}

/** ms that a worker may take until it has written anything. */
const silentStart = 60_000

/** ms since a file was written last; `Infinity` where there is none. */
function quietFor(file: string): number {
  const stat = statSync(file, { throwIfNoEntry: false })
  return stat === undefined ? Infinity : Date.now() - stat.mtimeMs
}

/**
 * The run of an output folder.
 * @throws PlanError `run.noLog` where there is none
 */
export async function openFolder(dir: string, interval: number): Promise<FolderSource> {
  const folder = path.resolve(dir)
  const found = () => existsSync(path.join(folder, metricsName)) || existsSync(path.join(folder, controlName))
  // A worker that was only just forked has its log, and will say where it is in a moment.
  for (let tries = 100; tries > 0 && !found() && quietFor(path.join(folder, workerLogName)) < silentStart; tries--) await new Promise((resolve) => setTimeout(resolve, 100))
  if (!found()) {
    throw new PlanError('run.noLog', `expected ${metricsName} in ${folder}, found none; try the output folder of a run that has started`, { dir: folder })
  }
  return new FolderSource(folder, interval)
}
