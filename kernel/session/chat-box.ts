import { randomBytes } from 'node:crypto'
import type { ChatState } from 'fettle/dist/chat/state'
import { chatBundle } from 'fettle/dist/views/bundle'
import type { Cell } from './cell'
import type { LiveChat, ToPage } from './lab-protocol'
import type { MimeBundle } from './values'

/** What a display needs of a chat. */
export interface LiveChatBox {
  readonly state: ChatState
  onChange(changed: () => void): unknown
  ask(text: string): Promise<unknown> | unknown
  cancel(): unknown
  clear(): unknown
  close(): Promise<unknown> | unknown
}

/** A chat as this kernel shows it. */
export class ChatBox {
  readonly id: string
  private places: { readonly cell: Cell; readonly display: string }[] = []
  private leftBy: Cell | null = null
  private version = 0
  private pushed = -1
  private shown = 0

  constructor(private readonly chat: LiveChatBox, changed: () => void) {
    this.id = chat.state.chat
    chat.onChange(() => { this.version++; changed() })
  }

  get isOver(): boolean { return this.chat.state.status === 'closed' }
  get unfinished(): boolean { return this.isOver && this.version !== this.shown }

  show(cell: Cell): void {
    const display = `fettle-${randomBytes(6).toString('hex')}`
    this.places.push({ cell, display })
    cell.display(this.keep(), display)
  }

  leave(cell: Cell): boolean {
    const before = this.places.length
    this.places = this.places.filter((place) => place.cell.id === null || place.cell.id !== cell.id || place.cell === cell)
    if (before > 0 && this.places.length === 0) this.leftBy = cell
    return this.places.length > 0
  }

  /** Its box went when this very cell was run again. */
  wasLeftBy(cell: Cell): boolean { return this.leftBy === cell && this.places.length === 0 }

  live(): LiveChat { return { chat: this.id, cell: this.places.at(-1)?.cell.id ?? null, state: this.chat.state } }

  push(send: (message: ToPage) => number): number {
    if (this.version === this.pushed) return 0
    this.pushed = this.version
    return send({ type: 'chat', chat: this.id, state: this.chat.state })
  }

  refresh(): number {
    // What is still being written is kept once it stands.
    if (this.version === this.shown) return 0
    this.shown = this.version
    const data = this.keep()
    return this.places.reduce((bytes, { cell, display }) => bytes + cell.display(data, display, true), 0)
  }

  keep(): MimeBundle { return chatBundle(this.chat.state) as unknown as MimeBundle }

  // What goes wrong stands in the chat's state.
  ask(text: string): void { void Promise.resolve(this.chat.ask(text)).catch(() => undefined) }
  cancel(): void { this.chat.cancel() }
  clear(): void { this.chat.clear() }
  async close(): Promise<void> { await this.chat.close() }
}
