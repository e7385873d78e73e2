import { FettleError } from 'fettle/dist/errors'
import { aliveMs, commTarget, type FromPage, type ToPage } from './lab-protocol'
import type { Message } from './wire'

/** Pages throttle the timers of hidden tabs to one a minute: silence of this length (ms) means that the page is gone. */
const goneMs = aliveMs + 75_000

/** Comms that pages (or scripts) hold with this kernel, all of the target `fettle`. */
export class Comms {
  private readonly heardAt = new Map<string, number>()

  constructor(private readonly publish: (type: string, content: unknown) => number, private readonly take: (message: FromPage) => void) {}

  /** Whether someone listens. */
  get listening(): boolean {
    const now = Date.now()
    for (const [id, at] of this.heardAt) if (now - at > goneMs) this.heardAt.delete(id)
    return this.heardAt.size > 0
  }

  /** Content of a `comm_info_reply`. */
  info(): Record<string, { target_name: string }> {
    return Object.fromEntries([...this.heardAt.keys()].map((id) => [id, { target_name: commTarget }]))
  }

  /** Takes a `comm_open`, `comm_msg` or `comm_close`. */
  handle(message: Message): void {
    const { comm_id: id, target_name: target, data } = message.content as { comm_id?: string; target_name?: string; data?: FromPage }
    if (typeof id !== 'string') return
    const type = message.header.msg_type
    if (type === 'comm_close') return void this.heardAt.delete(id)
    if (type === 'comm_open' && target !== commTarget) return void this.publish('comm_close', { comm_id: id, data: {} })
    // A page whose comm was given up while its tab slept is there again with its next message.
    this.heardAt.set(id, Date.now())
    this.take(type === 'comm_open' ? { type: 'hello' } : data as FromPage)
  }

  /** Sends to all that listen and tells how many bytes that took. */
  send(data: ToPage): number {
    return [...this.heardAt.keys()].reduce((bytes, id) => bytes + this.publish('comm_msg', { comm_id: id, data }), 0)
  }
}

/** What a page tells the user of a failed command: a typed error's message says what to do, another's at least what happened. */
export function errorText(error: unknown): string {
  if (error instanceof FettleError || error instanceof Error) return error.message
  return String(error)
}
