import type { Command, FromWorker, ToWorker } from '../run/protocol'

/** A command and the id that its reply carries: unique in this worker, whichever front asked. */
export interface Ask { readonly id: number; readonly command: Command }

/** What the front wants of this worker: its first message. */
export type Opening = Extract<ToWorker, { kind: 'start' | 'serve' }>

/** What the channel needs of `process`: its IPC pipe and its signals. Tests bring their own. */
export interface Host {
  send?(message: FromWorker, callback: (error: Error | null) => void): unknown
  on(event: 'message', listener: (message: ToWorker) => void): unknown
  on(event: 'disconnect' | 'SIGTERM' | 'SIGINT', listener: () => void): unknown
}

/** One that sends commands and gets its own replies: the process that started the worker, or one at the control socket. */
export interface Front { send(message: FromWorker): void }

/**
 * The worker's end of the pipes to its fronts: messages out, commands in. Commands wait here until training takes them
 * between two steps. A signal asks for a stop, and so does the end of the front that started the worker, unless it is
 * detached.
 */
export class Channel {
  /** Why training shall stop, besides a `stop` command. */
  interrupted: 'disconnect' | 'signal' | null = null
  /** The run shall end: a stop or close was asked, or the channel is interrupted. */
  isLeaving = false
  /** Resolves with the first `isLeaving`. */
  readonly leaving: Promise<void>
  private readonly queue: Ask[] = []
  private wake: (() => void) | null = null
  private pending: Promise<unknown> = Promise.resolve()
  private readonly cancelled = new Set<number>()
  private readonly opening: Promise<Opening | null>
  private readonly fronts = new Set<Front>()
  private readonly starter: Front = { send: (message) => this.pipe(message) }
  /** Who asked, by the ids that commands have in this worker. */
  private readonly asked = new Map<number, { readonly front: Front; readonly id: number }>()
  private nextId = 1
  private traffic = 0
  private detached = false
  private ended = false
  /** The newest progress, for fronts that come while a long step runs; none once training begins. */
  private progress: FromWorker | null = null
  private leave!: () => void

  constructor(private readonly host: Host) {
    this.leaving = new Promise((resolve) => {
      this.leave = () => {
        this.isLeaving = true
        resolve()
      }
    })
    this.fronts.add(this.starter)
    let started!: (opening: Opening | null) => void
    this.opening = new Promise((resolve) => { started = resolve })
    host.on('message', (message) => {
      if (message.kind === 'command') return this.receive(this.starter, message.id, message.command)
      if (message.kind === 'hello') return
      if (message.kind === 'start' && message.detached) this.detach()
      started(message)
    })
    const interrupt = (why: 'disconnect' | 'signal') => (): void => {
      this.interrupted ??= why
      started(null)
      this.leave()
      this.wake?.()
    }
    const disconnected = interrupt('disconnect')
    host.on('disconnect', () => {
      this.drop(this.starter)
      if (!this.detached) disconnected()
    })
    for (const signal of ['SIGTERM', 'SIGINT'] as const) host.on(signal, interrupt('signal'))
  }

  /** The run or the model to serve; `null` when the front goes away first. */
  start(): Promise<Opening | null> { return this.opening }

  /** Replies and tokens go to the front that asked; what is told to all goes to all, events to the starter alone: others read the log. */
  send(message: FromWorker): void {
    if (message.kind === 'reply' || message.kind === 'token') {
      const to = this.asked.get(message.id)
      if (message.kind === 'reply') this.forget(message.id)
      return to?.front.send({ ...message, id: to.id })
    }
    if (message.kind === 'event' && message.event.type === 'started') this.progress = null
    if (message.kind !== 'progress') return this.starter.send(message)
    this.progress = message
    for (const front of this.fronts) front.send(message)
  }

  /** Adds a front; it hears at once what runs. */
  join(front: Front): void {
    this.traffic++
    this.fronts.add(front)
    front.send({ kind: 'ready' })
    if (this.progress !== null) front.send(this.progress)
  }

  /** A front is gone: what it asked for is not answered any more. */
  drop(front: Front): void {
    this.traffic++
    this.fronts.delete(front)
    for (const [id, to] of this.asked) {
      if (to.front !== front) continue
      // What it waited for ends; a stop, a save or a new rate that it asked for is still done.
      this.cancelled.add(id)
    }
    this.wake?.()
  }

  /** A command of a front, under the id that the front gave it. */
  receive(front: Front, id: number, command: Command): void {
    this.traffic++
    const own = this.nextId++
    this.asked.set(own, { front, id })
    this.push({ id: own, command })
  }

  /** Bytes came in that are no whole command yet. */
  touch(): void { this.traffic++ }

  /** Lets messages in until none comes. */
  async settle(): Promise<void> {
    let seen: number
    do {
      seen = this.traffic
      await new Promise((resolve) => setImmediate(resolve))
    } while (seen !== this.traffic)
  }

  /** Resolves when all that was sent to the starter has left this process. */
  async flush(): Promise<void> { await this.pending }

  /** The oldest command, when there is one. */
  take(): Ask | undefined { return this.queue.shift() }

  /** Waits for a command; `null` when the channel is interrupted and, with `watched`, when no front of a detached run is left. */
  async next({ watched = false } = {}): Promise<Ask | null> {
    while (this.queue.length === 0) {
      if (this.interrupted !== null || (watched && this.detached && this.fronts.size === 0)) return null
      await new Promise<void>((resolve) => { this.wake = resolve })
    }
    return this.queue.shift()!
  }

  /** Training is over: a stop that was asked is done, and later ones have nothing to leave. */
  over(): void {
    this.ended = true
    this.isLeaving = this.interrupted !== null || this.queue.some(({ command }) => command.name === 'close')
  }

  /** A `cancel` came for this command, or its front is gone: it ends with what it has. */
  isCancelled(id: number): boolean { return this.cancelled.has(id) }

  private push(ask: Ask): void {
    const { id, command } = ask
    // It is for a command that runs now or waits here, so it cannot wait itself.
    if (command.name === 'cancel') {
      const { front } = this.asked.get(id)!
      for (const [other, to] of this.asked) if (to.front === front && to.id === command.of) this.cancelled.add(other)
      return this.send({ kind: 'reply', id })
    }
    this.queue.push(ask)
    if (command.name === 'close' || (command.name === 'stop' && !this.ended)) this.leave()
    this.wake?.()
  }

  private forget(id: number): void {
    this.asked.delete(id)
    this.cancelled.delete(id)
  }

  private pipe(message: FromWorker): void {
    if (!this.fronts.has(this.starter)) return
    // A pipe that breaks is reported by 'disconnect'.
    const sent = new Promise((resolve) => this.host.send?.(message, resolve) ?? resolve(null))
    this.pending = Promise.all([this.pending, sent])
  }

  private detach(): void {
    this.detached = true
    // A paused run without a front, and without a socket, has nothing else to keep it alive.
    setInterval(() => undefined, 60_000)
  }
}
