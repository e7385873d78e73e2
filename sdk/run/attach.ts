import type { Table } from 'apache-arrow'
import { existsSync } from 'node:fs'
import * as path from 'node:path'
import { FettleError, PlanError, reviveError, WorkerError } from '../errors'
import { startAgain } from './death'
import type { RunEvent } from './events'
import { hasCheckpoint, metricsName } from './folder'
import { EventLog } from './log'
import type { StepColumns } from './metrics'
import { readLines, verdict, type Verdict } from './read-log'
import { resultOf, type RunResult } from './result'

/** A run that was started elsewhere, read from its metrics.jsonl. */
export class AttachedRun implements AsyncIterable<RunEvent> {
  /** Absolute path of the run's output folder. */
  readonly dir: string
  /** The result, or the typed error that ended the run; a worker that vanished is a `WorkerError`. */
  readonly done: Promise<RunResult>
  readonly #log = new EventLog()
  readonly #file: string
  #offset = 0
  #state: Verdict = 'starting'
  #resolve!: (result: RunResult) => void
  #reject!: (error: Error) => void
  #timer: NodeJS.Timeout | null = null

  /** @internal Use `attach(dir)`. */
  constructor(dir: string, interval: number) {
    this.dir = path.resolve(dir)
    this.#file = path.join(this.dir, metricsName)
    this.done = new Promise((resolve, reject) => { this.#resolve = resolve; this.#reject = reject })
    this.done.catch(() => { /* Whoever awaits `done` gets it. */ })
    this.#look()
    if (!this.#over) this.#timer = setInterval(() => this.#look(), interval)
  }

  /** Where the run stood at the last look; `crashed` when its worker is gone without a word. */
  get state(): Verdict { return this.#state }
  /** All events so far, oldest first. */
  get events(): readonly RunEvent[] { return this.#log.events }
  /** Step events as an Arrow table. */
  get metrics(): Table<StepColumns> { return this.#log.metrics }

  [Symbol.asyncIterator](): AsyncGenerator<RunEvent, void, undefined> { return this.#log.read() }

  /** Stops watching; the run itself goes on. */
  close(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
    this.#log.end()
  }

  get #over(): boolean { return this.#state !== 'starting' && this.#state !== 'training' }

  #look(): void {
    const { events, offset } = readLines(this.#file, this.#offset)
    this.#offset = offset
    for (const event of events) this.#log.push(event)
    this.#state = verdict(this.#log.events, Date.now())
    if (!this.#over) return
    this.close()
    if (this.#state === 'finished' || this.#state === 'stopped') this.#resolve(resultOf(this.dir, this.#log))
    else this.#reject(this.#failure())
  }

  #failure(): FettleError {
    const failed = this.#log.last('failed')
    if (this.#state === 'failed' && failed) return reviveError(failed.error)
    const { pid } = this.#log.last('started')!
    const step = this.#log.last('step')?.step ?? 0
    return new WorkerError('worker.vanished', `the worker of ${this.dir} (process ${pid}) ended without a word after step ${step}; ${startAgain(hasCheckpoint(this.dir)).calls}`, { dir: this.dir, pid, step })
  }
}

/**
 * Watches a run that another process started, from its output folder. It ends with the run.
 * Throws a `PlanError` where there is no metrics.jsonl.
 */
export async function attach(dir: string, options: { /** Looks at the file each so many ms. Default 300. */ readonly interval?: number } = {}): Promise<AttachedRun> {
  const file = path.join(path.resolve(dir), metricsName)
  if (!existsSync(file)) throw new PlanError('run.noLog', `expected ${metricsName} in ${path.resolve(dir)}, found none; try the output folder of a run that has started`, { dir: path.resolve(dir) })
  return new AttachedRun(dir, options.interval ?? 300)
}
