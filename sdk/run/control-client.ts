import * as net from 'node:net'
import { WorkerError } from '../errors'
import type { ControlRecord } from './control'
import { JsonLines } from './control'
import type { Command, FromWorker, Replies } from './protocol'
import { Requests, type Requester, type OnToken } from './requests'

/** Characters of a line that a worker may send. */
const longestLine = 256 * 2 ** 20

/** A run's control socket, seen from a front that did not start it. */
export class ControlClient implements Requester {
  readonly record: ControlRecord
  readonly #socket: net.Socket
  readonly #requests: Requests
  #open = true

  private constructor(record: ControlRecord, socket: net.Socket, onMessage: (message: FromWorker) => void, onClosed: () => void) {
    this.record = record
    this.#socket = socket
    this.#requests = new Requests((message) => { socket.write(`${JSON.stringify(message)}\n`) })
    const lines = new JsonLines(longestLine)
    socket.setEncoding('utf8')
    socket.on('data', (text: unknown) => {
      try {
        for (const message of lines.push(text as string) as Iterable<FromWorker>) if (!this.#requests.take(message)) onMessage(message)
      } catch { socket.destroy() }
      this.#keep()
    })
    socket.on('error', () => { /* 'close' follows. */ })
    socket.on('close', () => {
      this.#open = false
      this.#requests.fail(this.#gone())
      onClosed()
    })
    socket.write(`${JSON.stringify({ kind: 'hello', token: record.token })}\n`)
    this.#keep()
  }

  /** Rejects with the system's error where nobody listens. */
  static connect(record: ControlRecord, onMessage: (message: FromWorker) => void, onClosed: () => void): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(record.socket!)
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new ControlClient(record, socket, onMessage, onClosed))
      })
    })
  }

  get open(): boolean { return this.#open }

  request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: OnToken, signal?: AbortSignal): Promise<Replies[N]> {
    if (!this.#open) return Promise.reject(this.#gone())
    const reply = this.#requests.open(command, onToken, signal) as Promise<Replies[N]>
    this.#keep()
    return reply
  }

  close(): void { this.#socket.destroy() }

  /** Only a command that waits keeps this process alive. */
  #keep(): void {
    if (this.#requests.size > 0) this.#socket.ref()
    else this.#socket.unref()
  }

  #gone(): WorkerError {
    const { pid } = this.record
    return new WorkerError('worker.gone', `the worker (process ${pid}) closed the connection before it answered: it has ended; look at the run's state, or attach(folder) again`, { pid })
  }
}
