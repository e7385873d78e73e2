import { reviveError } from '../errors'
import type { Command, FromWorker, Replies, ToWorker } from './protocol'

/** Called with each piece of text of a `generate` or `chat`. */
export type OnToken = (row: number, text: string) => void

/** Sends commands to a worker and brings their replies. `signal` ends a `generate` or `chat`, which answers with what it has. */
export interface Requester {
  request<N extends Command['name']>(command: Extract<Command, { name: N }>, onToken?: OnToken, signal?: AbortSignal): Promise<Replies[N]>
}

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  readonly onToken?: OnToken
}

/** Commands of one front that wait for their replies. */
export class Requests {
  readonly #pending = new Map<number, Pending>()
  readonly #send: (message: ToWorker) => void
  #nextId = 1

  constructor(send: (message: ToWorker) => void) { this.#send = send }

  get size(): number { return this.#pending.size }

  open(command: Command, onToken?: OnToken, signal?: AbortSignal): Promise<unknown> {
    const id = this.#nextId++
    const cancel = (): void => { this.open({ name: 'cancel', of: id }).catch(() => { /* It has ended meanwhile. */ }) }
    const reply = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onToken })
      this.#send({ kind: 'command', id, command })
      if (signal?.aborted) cancel()
      else signal?.addEventListener('abort', cancel, { once: true })
    })
    const forget = (): void => signal?.removeEventListener('abort', cancel)
    reply.then(forget, forget)
    return reply
  }

  /** Takes a message that belongs to a command; false for all others. */
  take(message: FromWorker): boolean {
    if (message.kind === 'token') {
      this.#pending.get(message.id)?.onToken?.(message.row, message.text)
      return true
    }
    if (message.kind !== 'reply') return false
    const pending = this.#pending.get(message.id)
    this.#pending.delete(message.id)
    if (message.error) pending?.reject(reviveError(message.error))
    else pending?.resolve(message.value)
    return true
  }

  /** The worker is gone: nothing is answered any more. */
  fail(error: Error): void {
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const { reject } of pending) reject(error)
  }
}
