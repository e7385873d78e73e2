import { fork, type ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import * as path from 'node:path'
import { reviveError, WorkerError } from '../errors'
import { workerLogName } from './folder'
import type { Command, FromWorker, Replies, ToWorker } from './protocol'

/** How a worker process ended. */
export interface Exit { readonly code: number | null; readonly signal: NodeJS.Signals | null }

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  readonly onToken?: (row: number, text: string) => void
}

interface Listener {
  onMessage(message: FromWorker): void
  onExit(exit: Exit): void
}

/** Workers of this process that run. They die with it, whatever state they are in. */
const living = new Set<ChildProcess>()
process.on('exit', () => { for (const child of living) child.kill('SIGTERM') })

/** What a worker is for: a run, or a model to serve. */
export type Opening = Extract<ToWorker, { kind: 'start' | 'serve' }>

/** One worker, seen from the front: a forked process, its commands and their replies. */
export class WorkerProcess {
  readonly log: string
  readonly #child: ChildProcess
  readonly #pending = new Map<number, Pending>()
  #nextId = 1
  #exited: Exit | null = null
  #idle = false

  /** @param dir where its log is written */
  constructor(opening: Opening, dir: string, entry: string, listener: Listener) {
    this.log = path.join(dir, workerLogName)
    const log = openSync(this.log, 'w')
    try { this.#child = fork(entry, [], forkOptions(opening.kind === 'start' ? opening.plan.threads : opening.serve.threads, log)) } finally { closeSync(log) }
    living.add(this.#child)
    this.#child.on('message', (message) => this.#receive(message as FromWorker, listener))
    this.#child.on('error', () => { /* A failed spawn or a broken pipe: 'exit' or the missing pid below tells the same. */ })
    this.#child.on('exit', (code, signal) => this.#onExit({ code, signal }, listener))
    if (this.#child.pid === undefined) setImmediate(() => this.#onExit({ code: null, signal: null }, listener))
    this.#send(opening)
  }

  get pid(): number { return this.#child.pid ?? -1 }
  get exited(): Exit | null { return this.#exited }

  /** Sends a command and waits for its reply; rejects when the worker ends first. `signal` cancels an answer, which then ends with what it has. */
  request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: Pending['onToken'], signal?: AbortSignal): Promise<Replies[N]> {
    if (this.#exited) return Promise.reject(this.#gone(command.name))
    const id = this.#nextId++
    const cancel = (): void => { this.#send({ kind: 'command', id: this.#nextId++, command: { name: 'cancel', of: id } }) }
    return new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onToken })
      this.#hold()
      this.#send({ kind: 'command', id, command })
      if (signal?.aborted) cancel()
      else signal?.addEventListener('abort', cancel, { once: true })
    }).finally(() => signal?.removeEventListener('abort', cancel)) as Promise<Replies[N]>
  }

  /** From now on the process may end while this worker waits for commands. */
  idle(): void {
    this.#idle = true
    this.#hold()
  }

  /** Ends the worker at once, and with it the processes that it started. */
  kill(): void {
    if (this.#exited || this.#child.pid === undefined) return
    // It leads its own process group (`detached`); Windows has none.
    try { process.kill(-this.#child.pid, 'SIGKILL') } catch { this.#child.kill('SIGKILL') }
  }

  /** Keeps the event loop alive while there is something to wait for. */
  #hold(): void {
    const wait = !this.#idle || this.#pending.size > 0
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
    if (message.kind === 'token') this.#pending.get(message.id)?.onToken?.(message.row, message.text)
    else if (message.kind === 'reply') {
      const pending = this.#pending.get(message.id)
      this.#pending.delete(message.id)
      this.#hold()
      if (message.error) pending?.reject(reviveError(message.error))
      else pending?.resolve(message.value)
    } else listener.onMessage(message)
  }

  #onExit(exit: Exit, listener: Listener): void {
    if (this.#exited) return
    this.#exited = exit
    living.delete(this.#child)
    listener.onExit(exit)
    for (const { reject } of this.#pending.values()) reject(this.#gone('this command'))
    this.#pending.clear()
  }

  #gone(command: string): WorkerError {
    return new WorkerError('worker.gone', `the worker (process ${this.pid}) has ended and cannot do ${command}; its weights are in the output folder: start another run, or use fettle generate`, { pid: this.pid, command })
  }
}

function forkOptions(threads: number | null, log: number): Parameters<typeof fork>[2] {
  const env = { ...process.env }
  if (threads !== null) env.OMP_NUM_THREADS = String(threads)
  return {
    env, execArgv: [], serialization: 'advanced',
    // Its own process group: Ctrl-C at the terminal reaches the front alone, which stops the worker cleanly.
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
  }
}
