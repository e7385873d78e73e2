import { readMessage, type PageMessage } from './from-page'
import { aliveMs, commTarget, type ToPage } from './lab-protocol'
import type { Message } from './wire'

/** A page answers each push, if late; hidden tabs have their timers throttled to one a minute. Silence of this length (ms)
 * after a push means that the page is gone. */
const goneMs = aliveMs + 75_000

/** Comms that pages (or scripts) hold with this kernel, all of the target `fettle`. */
export class Comms {
  /** Comms, each with the time of the first push that it has not answered. */
  private readonly open = new Map<string, number | null>()

  constructor(private readonly publish: (type: string, content: unknown) => number, private readonly take: (message: PageMessage) => void) {}

  /** Whether someone listens. */
  get listening(): boolean {
    const now = Date.now()
    for (const [id, since] of this.open) if (since !== null && now - since > goneMs) this.open.delete(id)
    return this.open.size > 0
  }

  /** Content of a `comm_info_reply`. */
  info(): Record<string, { target_name: string }> {
    return Object.fromEntries([...this.open.keys()].map((id) => [id, { target_name: commTarget }]))
  }

  /** Takes a `comm_open`, `comm_msg` or `comm_close`. */
  handle(message: Message): void {
    const { comm_id: id, target_name: target, data } = message.content as { comm_id?: string; target_name?: string; data?: unknown }
    if (typeof id !== 'string') return
    const type = message.header.msg_type
    if (type === 'comm_close') return void this.open.delete(id)
    if (type === 'comm_open' && target !== commTarget) return void this.publish('comm_close', { comm_id: id, data: {} })
    const said = type === 'comm_open' ? { type: 'hello' } as const : readMessage(data)
    if (said === null) return
    // A page whose comm was given up while its tab slept is there again with its next message.
    this.open.set(id, null)
    this.take(said)
  }

  /** Sends to all that listen and tells how many bytes that took. */
  send(data: ToPage): number {
    let bytes = 0
    for (const [id, since] of this.open) {
      this.open.set(id, since ?? Date.now())
      bytes += this.publish('comm_msg', { comm_id: id, data })
    }
    return bytes
  }
}

/** What a page tells the user of a failed command: a typed error's message says what to do, another's at least what happened. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
