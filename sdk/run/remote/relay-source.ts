import { EnvironmentError, reviveError, WorkerError, type FettleError, type SerializedError } from '../../errors'
import type { Plan } from '../../plan/plan'
import type { RunProgress } from '../handle'
import { EventLog } from '../log'
import type { Command, Replies } from '../protocol'
import { isOver, reviveNumbers, type Verdict } from '../read-log'
import { Requests, type OnToken } from '../requests'
import type { RunSource } from '../source'
import { addressOf, type Address } from './address'
import { Connection, noFarEnd, type End } from './connection'
import { readReach, type Reach, type RemoteOptions } from './options'
import { version, type FromRelay, type RelayStatus, type StartOrder } from './protocol'

/** A run on another host, seen through `fettle relay` there. */
export class RelaySource implements RunSource {
  readonly log = new EventLog()
  readonly #host: Pick<Address, 'target' | 'port'>
  readonly #reach: Reach
  readonly #connection: Connection
  readonly #requests = new Requests((message) => { if (message.kind === 'command') this.#connection.send(message) })
  #status: RelayStatus | null = null
  #progress: RunProgress | null = null
  #end: End | null = null
  #closed = false
  #onChange: () => void = () => undefined
  #settle!: (error?: FettleError) => void
  /** The run is known, with all of its events so far; or the reason why it is not. */
  readonly ready: Promise<void>

  /** @param words behind `fettle`; `order` goes to its input */
  constructor(host: Pick<Address, 'target' | 'port'>, reach: Reach, words: readonly string[], timeout: number, order?: StartOrder) {
    this.#host = host
    const ssh = host.port === null ? reach.ssh : [...reach.ssh, '-p', host.port]
    this.#reach = { ...reach, ssh }
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#refuse(new EnvironmentError('remote.timeout', `${host.target} did not answer within ${timeout / 1000} s; try again, or ${ssh.join(' ')} ${host.target} true at a terminal`, { host: host.target, timeout })), timeout)
      this.#settle = (error) => {
        clearTimeout(timer)
        if (error) reject(error)
        else resolve()
      }
    })
    this.#connection = new Connection(host.target, this.#reach, words, { onMessage: (message) => this.#receive(message), onEnd: (end) => this.#onEnd(end) })
    if (order !== undefined) this.#connection.send(order)
  }

  get dir(): string { return addressOf(this.#host, this.#status?.dir ?? '') }
  get id(): string { return this.#status!.id }
  get state(): Verdict {
    const { state } = this.#status!
    return this.#end === null || isOver(state) ? state : 'lost'
  }
  get progress(): RunProgress | null { return this.#progress }
  get plan(): Plan | null { return this.#end === null ? this.#status!.plan : null }
  get alive(): boolean { return this.#end === null && this.#status!.alive }

  watch(onChange: () => void): void {
    this.#onChange = onChange
    this.#changed()
  }

  close(): void {
    this.#closed = true
    this.log.end()
    this.#connection.close()
  }

  request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: OnToken, signal?: AbortSignal): Promise<Replies[N]> {
    if (this.#end !== null) return Promise.reject(this.unreachable())
    const reply = this.#requests.open(command, onToken, signal) as Promise<Replies[N]>
    this.#keep()
    return reply
  }

  failure(): FettleError {
    const { failure } = this.#status!
    return failure === null ? this.#lost() : this.#revive(failure)
  }

  unreachable(): FettleError {
    const { unreachable } = this.#status!
    return unreachable === null || this.state === 'lost' ? this.#lost() : this.#revive(unreachable)
  }

  #receive(message: FromRelay): void {
    if (message.kind === 'token' || message.kind === 'reply') this.#requests.take(message)
    else if (message.kind === 'event') {
      this.log.push(reviveNumbers(message.event))
      if (message.event.type === 'started') this.#progress = null
    } else if (message.kind === 'progress') this.#progress = { stage: message.stage, done: message.done, total: message.total }
    else if (message.kind === 'relay' && message.version !== version) {
      this.#refuse(new EnvironmentError('remote.program', `the Fettle on ${this.#host.target} is of another version, whose messages this one does not know; install the same here and there`, { host: this.#host.target, version: message.version }))
    } else if (message.kind === 'refused') this.#refuse(this.#revive(message.error))
    else if (message.kind === 'status') {
      this.#status = message
      if (!message.alive || isOver(message.state)) this.#progress = null
      this.#settle()
    }
    if (this.#status !== null) this.#changed()
  }

  #changed(): void {
    const over = isOver(this.state)
    if (over) this.log.end()
    // Neither more events nor answers are to come.
    if (over && !this.alive && this.#end === null) this.#connection.close()
    this.#keep()
    this.#onChange()
  }

  #refuse(error: FettleError): void {
    this.#settle(error)
    this.close()
  }

  #onEnd(end: End): void {
    this.#end = end
    this.#progress = null
    if (this.#status === null) return this.#settle(noFarEnd(this.#host.target, this.#reach, end))
    this.#requests.fail(this.unreachable())
    if (!this.#closed) this.#changed()
  }

  /** As with a log that is followed, this process lives until the run is over; then only a command that waits keeps it. */
  #keep(): void { this.#connection.keep(this.#requests.size > 0 || !isOver(this.state)) }

  /** An error of the other host. */
  #revive(error: SerializedError): FettleError {
    const { target } = this.#host
    return reviveError({ ...error, message: `${target}: ${error.message}`, details: { ...error.details, host: target } })
  }

  #lost(): WorkerError {
    const { dir } = this, { target } = this.#host, said = this.#end?.said ?? ''
    return new WorkerError('run.lost', `the connection to ${target} was lost${said === '' ? '' : ` (${said.split('\n').at(-1)})`}${this.state === 'lost' ? ', and the run there goes on' : ''}; attach('${dir}') sees it again`, { dir, host: target, said })
  }
}

/** ms that a host may take to answer. */
const patience = 60_000

/** A run that is there on another host. */
export async function openRelay({ path, ...host }: Address, options: RemoteOptions, interval: number): Promise<RelaySource> {
  const source = new RelaySource(host, readReach(options, 'attach()'), ['relay', '--interval', String(interval), '--', path], patience)
  await source.ready
  return source
}
