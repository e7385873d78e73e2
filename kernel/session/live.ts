import { randomUUID } from 'node:crypto'
import { PlanError } from 'fettle/dist/errors'
import type { LiveRun } from 'fettle/dist/views'
import type { Cell } from './cell'
import { Board } from './board'
import { ChatBox, type LiveChatBox } from './chat-box'
import { Comms, errorText } from './comms'
import { readCommand, type PageMessage } from './from-page'
import { Pace } from './pace'
import type { Message } from './wire'

/** A page gets at most about 50 KB/s of all this together. */
const rates = { boards: 27_000, chats: 12_000, outputsBeside: 8_000, outputsAlone: 45_000 }

/** ms. Twice a second is as live as an eye asks for, ten times as fast as one reads; outputs that a page draws from what is
 * pushed only matter for saving. */
const least = { boards: 500, chats: 100, outputsBeside: 15_000, outputsAlone: 500 }

/** All that lives in the outputs of a session: boards of runs and chats. Pages with the lab extension are told through a
 * comm what is new, and send what their user asks; all other clients get outputs that are replaced now and then. */
export class Live {
  private readonly boards = new Map<string, Board>()
  private readonly chats = new Map<string, ChatBox>()
  private readonly ids = new WeakMap<LiveRun, string>()
  private readonly comms: Comms
  private readonly paces = { boards: new Pace(rates.boards), chats: new Pace(rates.chats), beside: new Pace(rates.outputsBeside), alone: new Pace(rates.outputsAlone) }
  private timer: NodeJS.Timeout | null = null
  /** ms between its rounds. */
  private every: number | null = null

  constructor(private readonly publish: (type: string, content: unknown) => number) {
    this.comms = new Comms(publish, (message) => this.take(message))
  }

  /** Draws a run under a cell, from now until it is over. */
  show(run: LiveRun, cell: Cell): void {
    const id = this.idOf(run)
    const board = this.boards.get(id) ?? new Board(run, id, () => this.roundNow())
    this.boards.set(id, board)
    board.take(run)
    cell.standsUnder(run)
    board.show(cell, this.comms.listening)
    this.wake()
  }

  /** Puts a chat box under a cell. */
  chat(chat: LiveChatBox, cell: Cell): void {
    const box = this.chats.get(chat.state.chat) ?? new ChatBox(chat, () => this.wake())
    this.chats.set(box.id, box)
    // A cell that makes its chat anew took the old one's box; each keeps a model in memory.
    for (const old of this.chats.values()) if (old !== box && old.wasLeftBy(cell)) void this.end(old)
    cell.standsUnder(chat)
    box.show(cell)
    this.wake()
  }

  /** A cell begins: what stood under it before is gone from the notebook. */
  enter(cell: Cell): void {
    for (const items of [this.boards, this.chats])
      for (const [id, item] of items) if (!item.leave(cell) && item.isOver) items.delete(id)
    this.wake()
  }

  /** Takes a comm message. */
  comm(message: Message): void { this.comms.handle(message) }

  openComms(): Record<string, unknown> { return this.comms.info() }

  /** Chats end with their kernel. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.chats.values()].map((box) => box.close()))
    this.round(true)
    if (this.timer) clearInterval(this.timer)
  }

  private async end(box: ChatBox): Promise<void> {
    this.chats.delete(box.id)
    await box.close()
  }

  private idOf(run: LiveRun): string {
    const known = run.id ?? this.ids.get(run) ?? randomUUID()
    this.ids.set(run, known)
    return known
  }

  /** Looks for news as often as the liveliest of all asks for, and not at all where nothing is shown. */
  private wake(): void {
    const every = [...this.chats.values()].some((box) => !box.isOver) ? least.chats : this.boards.size + this.chats.size > 0 ? least.boards : null
    if (every === this.every) return
    if (this.timer) clearInterval(this.timer)
    this.every = every
    // A display must not keep a process alive.
    this.timer = every === null ? null : setInterval(() => this.round(), every).unref()
  }

  /** Pages see at once what a person did, and a run's end. */
  private roundNow(): void {
    this.paces.boards.now()
    this.round()
  }

  private round(now = false): void {
    const listening = this.comms.listening
    const send = (message: Parameters<Comms['send']>[0]) => this.comms.send(message)
    const { boards, chats } = this.paces
    const sum = (items: Iterable<Board | ChatBox>, each: (item: Board | ChatBox) => number) => [...items].reduce((bytes, item) => bytes + each(item), 0)
    if (listening && (now || boards.due)) boards.spent(sum(this.boards.values(), (board) => board.push(send)), least.boards)
    if (listening && (now || chats.due)) chats.spent(sum(this.chats.values(), (box) => box.push(send)), least.chats)
    const all = [...this.boards.values(), ...this.chats.values()]
    const outputs = listening ? this.paces.beside : this.paces.alone
    if (now || outputs.due) outputs.spent(sum(all, (item) => item.refresh(listening)), listening ? least.outputsBeside : least.outputsAlone)
    // The end does not wait for its turn.
    else for (const item of all) if (item.unfinished) item.refresh(listening)
  }

  private take(message: PageMessage): void {
    if (message.type === 'hello') this.greet()
    else if (message.type === 'command') void this.command(message)
    else if (message.type === 'ask') this.chats.get(message.chat)?.ask(message.text)
    else if (message.type === 'cancel' || message.type === 'clear') this.chats.get(message.chat)?.[message.type]()
    else if (message.type === 'keep') {
      const item = this.boards.get(message.of) ?? this.chats.get(message.of)
      if (item) this.comms.send({ type: 'keep', of: message.of, data: item.keep() })
    }
    this.paces.chats.now()
  }

  private greet(): void {
    this.comms.send({ type: 'live', boards: [...this.boards.values()].map((board) => board.live()), chats: [...this.chats.values()].map((box) => box.live()) })
  }

  private async command({ id, run, command }: Extract<PageMessage, { type: 'command' }>): Promise<void> {
    const board = this.boards.get(run)
    let said: { readonly text: string } | { readonly error: string }
    try {
      if (!board) throw new PlanError('run.unknown', 'this kernel does not know the run; take it up with: await attach(its output folder)', { run })
      said = { text: await board.command(readCommand(command)) }
    } catch (error) {
      said = { error: errorText(error) }
    }
    // What the command changed is seen before its answer is.
    this.roundNow()
    this.comms.send({ type: 'reply', id, ...said })
  }
}
