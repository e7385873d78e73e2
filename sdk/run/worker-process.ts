import { fork, type ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import * as path from 'node:path'
import { WorkerError } from '../errors'
import { aiStudioVariable, huggingFaceVariable } from '../models/hub/endpoint'
import { reveal, type Tokens } from '../secret'
import { worldSize } from '../parallel/mesh/mesh'
import { forkPlaced } from '../parallel/processes'
import { meshShape } from '../parallel/mesh/shape'
import { hasWeights, workerLogName } from './folder'
import type { Command, FromWorker, Replies, ToWorker } from './protocol'
import { Requests, type Requester, type OnToken } from './requests'

/** How a worker process ended. */
export interface Exit { readonly code: number | null; readonly signal: NodeJS.Signals | null }

interface Listener {
  onMessage(message: FromWorker): void
  onExit(exit: Exit): void
}

/** Workers of this process that die with it, whatever state they are in. */
const living = new Set<ChildProcess>()
process.on('exit', () => { for (const child of living) child.kill('SIGTERM') })

/** What a worker is for: a run, or a model to serve. */
export type Opening = Extract<ToWorker, { kind: 'start' | 'serve' }>

/** One worker, seen from the front that started it: a forked process, its commands and their replies. */
export class WorkerProcess implements Requester {
  readonly log: string
  readonly #child: ChildProcess
  readonly #requests = new Requests((message) => this.#send(message))
  #exited: Exit | null = null
  #held: boolean

  /**
   * @param dir where its log is written
   * @param detached it outlives this process, and does not keep it alive until `hold()`
   * @param tokens reach it in its environment, and nobody else
   */
  constructor(opening: Opening, dir: string, entry: string, listener: Listener, detached = false, tokens: Tokens = {}) {
    this.log = path.join(dir, workerLogName)
    this.#held = !detached
    const log = openSync(this.log, 'w')
    try { this.#child = fork(entry, [], forkOptions(opening, log, tokens)) } finally { closeSync(log) }
    if (!detached) living.add(this.#child)
    this.#child.on('message', (message) => this.#receive(message as FromWorker, listener))
    this.#child.on('error', () => { /* A failed spawn or a broken pipe: 'exit' or the missing pid below tells the same. */ })
    this.#child.on('exit', (code, signal) => this.#onExit({ code, signal }, listener))
    if (this.#child.pid === undefined) setImmediate(() => this.#onExit({ code: null, signal: null }, listener))
    this.#send(opening)
    this.#keep()
  }

  get pid(): number { return this.#child.pid ?? -1 }
  get exited(): Exit | null { return this.#exited }
  /** The pipe stands: the worker hears this process. */
  get connected(): boolean { return this.#child.connected }

  /** Sends a command and waits for its reply; rejects when the worker ends first. */
  request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: OnToken, signal?: AbortSignal): Promise<Replies[N]> {
    if (this.#exited || !this.connected) return Promise.reject(this.#gone(command.name))
    const reply = this.#requests.open(command, onToken, signal) as Promise<Replies[N]>
    this.#keep()
    return reply
  }

  /** This process stays alive for the worker. */
  hold(): void {
    this.#held = true
    this.#keep()
  }

  /** From now on this process may end while the worker waits for commands. */
  idle(): void {
    this.#held = false
    this.#keep()
  }

  /** Closes the pipe: a detached worker goes on without this front. */
  release(): void {
    this.idle()
    if (this.connected) this.#child.disconnect()
    this.#failAll()
    this.#keep()
  }

  /** Ends the worker at once, and with it the processes that it started. */
  kill(): void {
    if (this.#exited || this.#child.pid === undefined) return
    // It leads its own process group (`detached`); Windows has none.
    try { process.kill(-this.#child.pid, 'SIGKILL') } catch { this.#child.kill('SIGKILL') }
  }

  /** Keeps the event loop alive while there is something to wait for. */
  #keep(): void {
    const wait = this.#held || this.#requests.size > 0
    if (wait) this.#child.ref()
    else this.#child.unref()
    const channel = this.#child.channel
    if (wait) channel?.ref()
    else channel?.unref()
  }

  #send(message: ToWorker): void {
    if (this.#child.connected) this.#child.send(message, () => { /* A pipe that breaks here breaks with the process, whose exit is reported. */ })
  }

  #receive(message: FromWorker, listener: Listener): void {
    if (this.#requests.take(message)) this.#keep()
    else listener.onMessage(message)
  }

  #onExit(exit: Exit, listener: Listener): void {
    if (this.#exited) return
    this.#exited = exit
    living.delete(this.#child)
    listener.onExit(exit)
    this.#failAll()
  }

  /** Only when someone waits: what to do next is looked up in the output folder. */
  #failAll(): void {
    if (this.#requests.size > 0) this.#requests.fail(this.#gone('this command'))
  }

  #gone(command: string): WorkerError {
    const dir = path.dirname(this.log)
    const next = hasWeights(dir) ? 'its weights are in the output folder: start another run, or use chat(folder) or fettle generate' : `it left no weights in ${dir}: start the run again`
    return new WorkerError('worker.gone', `the worker (process ${this.pid}) has ended or was closed and cannot do ${command}; ${next}`, { pid: this.pid, command })
  }
}

function forkOptions(opening: Opening, log: number, tokens: Tokens): Parameters<typeof fork>[2] {
  const { threads } = opening.kind === 'start' ? opening.plan : opening.serve
  const { rank, size } = opening.kind === 'start' ? placeOf(opening) : { rank: 0, size: 1 }
  const placed = forkPlaced(rank, size, threads), env = placed.env!
  const { huggingface, aistudio } = tokens
  if (huggingface !== undefined) env[huggingFaceVariable] = reveal(huggingface)
  if (aistudio !== undefined) env[aiStudioVariable] = reveal(aistudio)
  return {
    ...placed, env, serialization: 'advanced',
    // Its own process group: Ctrl-C at the terminal reaches the front alone, which stops the worker cleanly.
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
  }
}

/** Which of the ranks of this machine a worker is. */
function placeOf({ plan, meeting }: Extract<Opening, { kind: 'start' }>): { rank: number; size: number } {
  return meeting === undefined ? { rank: 0, size: worldSize(meshShape(plan.mesh)) } : { rank: meeting.localRank, size: meeting.localWorldSize }
}
