import { inspect } from 'node:util'
import type { Message } from './wire'
import type { Server } from './server'
import { bundleOf, type MimeBundle } from './values'

/** One execution of a cell: where its outputs go, also those that come after it ended. */
export class Cell {
  /** The cell's id in the notebook, where the client tells it. */
  readonly id: string | null
  private pending: { name: 'stdout' | 'stderr'; text: string } | null = null
  private flushing: NodeJS.Immediate | null = null
  private readonly live = new WeakSet<object>()

  constructor(private readonly server: Server, readonly message: Message, readonly count: number) {
    const { cellId } = message.metadata as { cellId?: unknown }
    this.id = typeof cellId === 'string' ? cellId : null
  }

  /** Text for the cell's stream; what is written in one turn of the event loop travels as one message. */
  write(name: 'stdout' | 'stderr', text: string): void {
    if (this.pending && this.pending.name !== name) this.flush()
    this.pending = { name, text: (this.pending?.text ?? '') + text }
    this.flushing ??= setImmediate(() => this.flush())
  }

  /** Sends what `write` holds back. */
  flush(): void {
    if (this.flushing) clearImmediate(this.flushing)
    this.flushing = null
    const stream = this.pending
    this.pending = null
    if (stream) this.server.publish('stream', stream, this.message)
  }

  /** Shows a bundle, or changes the one shown under the same `displayId`; tells how many bytes that took. */
  display(data: MimeBundle, displayId: string | null = null, update = false): number {
    this.flush()
    const transient = displayId === null ? {} : { display_id: displayId }
    return this.server.publish(update ? 'update_display_data' : 'display_data', { data, metadata: {}, transient }, this.message)
  }

  /** Tells that a value (a run, a chat) stands live under this cell: as its last value it is not shown again. */
  standsUnder(value: object): void { this.live.add(value) }

  /** Shows a cell's last value; what a driver put in as parameters has none that anyone asked for. */
  result(value: unknown): void {
    const { tags } = this.message.metadata as { tags?: unknown }
    if (Array.isArray(tags) && tags.includes('injected-parameters')) return
    this.flush()
    if (typeof value === 'object' && value !== null && this.live.has(value)) return
    const data = bundleOf(value) ?? { 'text/plain': typeof value === 'string' ? value : inspect(value) }
    this.server.publish('execute_result', { execution_count: this.count, data, metadata: {} }, this.message)
  }

  publish(type: string, content: unknown): void {
    this.flush()
    this.server.publish(type, content, this.message)
  }
}
