import type { Command, FromWorker, ToWorker } from '../run/protocol'

/** A command and the id that its reply carries. */
export interface Ask { readonly id: number; readonly command: Command }

/** What the front wants of this worker: its first message. */
export type Opening = Extract<ToWorker, { kind: 'start' | 'serve' }>

/** What the channel needs of `process`: its IPC pipe and its signals. Tests bring their own. */
export interface Host {
  send?(message: FromWorker, callback: (error: Error | null) => void): unknown
  on(event: 'message', listener: (message: ToWorker) => void): unknown
  on(event: 'disconnect' | 'SIGTERM' | 'SIGINT', listener: () => void): unknown
}

/**
 * The worker's end of the pipe to the front: messages out, commands in. Commands wait here until training takes them
 * between two steps. A broken pipe or a signal asks for a stop: a worker never outlives its front.
 */
export class Channel {
  /** Why training shall stop, besides a `stop` command. */
  interrupted: 'disconnect' | 'signal' | null = null
  /** The run shall end: a stop or close was asked, or the channel is interrupted. */
  isLeaving = false
  private readonly queue: Ask[] = []
  private wake: (() => void) | null = null
  private pending: Promise<unknown> = Promise.resolve()
  private readonly cancelled = new Set<number>()
  private readonly opening: Promise<Opening | null>
  /** Resolves with `isLeaving`. */
  readonly leaving: Promise<void>
  private leave!: () => void

  constructor(private readonly host: Host) {
    this.leaving = new Promise((resolve) => {
      this.leave = () => {
        this.isLeaving = true
        resolve()
      }
    })
    let started!: (opening: Opening | null) => void
    this.opening = new Promise((resolve) => { started = resolve })
    host.on('message', (message) => {
      if (message.kind !== 'command') started(message)
      else this.push({ id: message.id, command: message.command })
    })
    const interrupt = (why: 'disconnect' | 'signal') => (): void => {
      this.interrupted ??= why
      started(null)
      this.leave()
      this.wake?.()
    }
    host.on('disconnect', interrupt('disconnect'))
    for (const signal of ['SIGTERM', 'SIGINT'] as const) host.on(signal, interrupt('signal'))
  }

  /** The run or the model to serve; `null` when the front goes away first. */
  start(): Promise<Opening | null> { return this.opening }

  send(message: FromWorker): void {
    if (this.interrupted === 'disconnect') return
    // A pipe that breaks is reported by 'disconnect'.
    const sent = new Promise((resolve) => this.host.send?.(message, resolve) ?? resolve(null))
    this.pending = Promise.all([this.pending, sent])
  }

  /** Resolves when all that was sent has left this process. */
  async flush(): Promise<void> { await this.pending }

  /** The oldest command, when there is one. */
  take(): Ask | undefined { return this.queue.shift() }

  /** Waits for a command; `null` when the channel is interrupted. */
  async next(): Promise<Ask | null> {
    while (this.queue.length === 0) {
      if (this.interrupted !== null) return null
      await new Promise<void>((resolve) => { this.wake = resolve })
    }
    return this.queue.shift()!
  }

  /** A `cancel` came for this command: it ends with what it has. */
  isCancelled(id: number): boolean { return this.cancelled.has(id) }

  private push(ask: Ask): void {
    // It is for a command that runs now or waits here, so it cannot wait itself.
    if (ask.command.name === 'cancel') {
      this.cancelled.add(ask.command.of)
      return this.send({ kind: 'reply', id: ask.id })
    }
    this.queue.push(ask)
    if (ask.command.name === 'stop' || ask.command.name === 'close') this.leave()
    this.wake?.()
  }
}
