import { WorkerError } from '../errors'
import type { Plan } from '../plan/plan'
import { refusal } from '../plan/refuse'
import { openFolder } from './folder-source'
import { RunHandle, type RunProgress } from './handle'
import type { Command, Replies } from './protocol'
import { isOver, reviveNumbers, type Verdict } from './read-log'
import { isAddress, readAddress } from './remote/address'
import type { RemoteOptions } from './remote/options'
import { openRelay } from './remote/relay-source'
import type { OnToken } from './requests'
import { resultOf, type RunResult } from './result'
import type { RunSource } from './source'
import { unreachable } from './unreachable'

/**
 * A run that was started elsewhere, found in its output folder, here or on another host: its history is read from
 * metrics.jsonl, and while its worker lives, under this user, it is controlled over the worker's socket. While this handle is
 * open a detached run's worker stays after its last step, to answer.
 */
export class AttachedRun extends RunHandle {
  readonly #source: RunSource
  #closed = false

  /** @internal Use `attach(dir)`. */
  constructor(source: RunSource) {
    super(source.dir, source.log)
    this.#source = source
    source.watch(() => this.#follow())
  }

  get id(): string { return this.#source.id }
  /** Where the run stood at the last look; `crashed` when its worker is gone without a word, `lost` when the connection to its host is. */
  get state(): Verdict { return this.#source.state }
  get done(): Promise<RunResult> { return this.settled }
  get progress(): RunProgress | null { return this.#source.progress }
  /** Always true: this process does not end the run when it ends. */
  get detached(): boolean { return true }
  /** True while the run's worker lives and can be reached from here. */
  get alive(): boolean { return !this.#closed && this.#source.alive }
  /** The plan that the worker runs; `null` once no worker lives. */
  get plan(): Plan | null { return this.#source.plan }

  /** Stops watching; the run itself goes on. `done` of a run that is not over is then rejected with `run.closed`. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#source.close()
    this.reject(new WorkerError('run.closed', `this handle of the run in ${this.dir} was closed while it was ${this.state}; attach(folder) sees it again`, { dir: this.dir, state: this.state }))
  }

  async stop(): Promise<RunResult> {
    if (!isOver(this.state)) {
      await this.request({ name: 'stop' }).catch((error: Error) => { if (!isOver(this.state)) throw error })
    }
    return this.done
  }

  /** @internal */
  async request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: OnToken, signal?: AbortSignal): Promise<Replies[N]> {
    if (this.#closed) throw unreachable(this.dir, 'closed', null)
    const value = await this.#source.request(command, onToken, signal)
    // JSON has no NaN.
    return command.name === 'evaluate' ? reviveNumbers(value as Replies['evaluate']) as Replies[N] : value
  }

  protected runningPlan(): Plan {
    const { plan } = this
    if (this.#closed) throw unreachable(this.dir, 'closed', null)
    if (plan === null) throw this.#source.unreachable()
    return plan
  }

  #follow(): void {
    const { state } = this
    if (!isOver(state)) return
    if (state === 'finished' || state === 'stopped') this.resolve(resultOf(this.dir, this.log))
    else this.reject(this.#source.failure())
  }
}

/** Options of {@link attach}. */
export interface AttachOptions extends RemoteOptions {
  /** Looks at the log each so many ms. Default 300. */
  readonly interval?: number
}

/**
 * Finds a run in its output folder, whoever started it: one that trains, with all controls of `Run`, or one that is
 * finished, failed or crashed, with its whole history; `done` settles accordingly. The controls of a run that is over, or
 * whose folder is shared with the host that it runs on, throw a `WorkerError` that says what to do instead.
 *
 * `ssh://HOST/PATH` finds one on another host, as ssh reaches it (`ssh://me@HOST:PORT/PATH`; `ssh://HOST/~/PATH` begins at its
 * home). A connection that is lost ends nothing but this handle: `done` is rejected with a `WorkerError` `run.lost`.
 *
 * @param dir The output folder, or the address of one. The path of an address is taken as it is, without escapes.
 * @throws {PlanError} `run.noLog` where there is no metrics.jsonl
 * @throws {EnvironmentError} `remote.ssh`, `remote.program`, `remote.folder` where the other host cannot be reached or has no Fettle
 */
export async function attach(dir: string, options: AttachOptions = {}): Promise<AttachedRun> {
  if (typeof dir !== 'string') throw refusal('attach()', 'the output folder of a run', dir, "attach('output')")
  const { interval = 300 } = options
  return new AttachedRun(isAddress(dir) ? await openRelay(readAddress(dir), options, interval) : await openFolder(dir, interval))
}
