import type { Kernel } from '@jupyterlab/services'
import type { BoardCommand } from '../../sdk/views/state'
import { aliveMs, commId, commTarget, type FromPage, type ToPage } from '../session/lab-protocol'

/** What a link tells its owner. */
export interface LinkListener {
  message(message: ToPage, link: Link): void
  /** The kernel restarts or is gone. */
  lost(link: Link): void
}

interface Pending { resolve(text: string): void; reject(error: Error): void }

const gone: readonly string[] = ['restarting', 'autorestarting', 'terminating', 'dead']

/** The comm with one kernel, opened again whenever the kernel is a new one. */
export class Link {
  private comm: Kernel.IComm | null = null
  private readonly pending = new Map<string, Pending>()
  private disposed = false
  private alive: ReturnType<typeof setTimeout> | null = null

  constructor(private readonly kernel: Kernel.IKernelConnection, private readonly listener: LinkListener) {
    kernel.statusChanged.connect(this.onStatus)
    kernel.connectionStatusChanged.connect(this.onConnection)
    void this.open()
  }

  /** Asks a command of a run and waits for what the kernel says. */
  request(run: string, command: BoardCommand): Promise<string> {
    const id = crypto.getRandomValues(new Uint32Array(2)).join('-')
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject })
      if (!this.send({ type: 'command', id, run, command })) this.fail()
    })
  }

  /** Sends where the kernel is there. */
  send(message: FromPage): boolean {
    if (!this.comm || this.comm.isDisposed) return false
    this.comm.send(message as never)
    return true
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    this.kernel.statusChanged.disconnect(this.onStatus)
    this.kernel.connectionStatusChanged.disconnect(this.onConnection)
    this.lose()
  }

  private async open(): Promise<void> {
    const info = await this.kernel.info.catch(() => null)
    // Other kernels would complain about a target that they do not know.
    if (this.disposed || info?.implementation !== 'fettle' || !this.kernel.handleComms) return
    if (this.send({ type: 'hello' })) return
    this.comm = this.kernel.createComm(commTarget, commId)
    this.comm.onMsg = ({ content }) => this.take(content.data as unknown as ToPage)
    this.comm.open({})
  }

  private readonly onStatus = (_: unknown, status: Kernel.Status): void => {
    if (gone.includes(status)) this.lose()
    else if (!this.comm && (status === 'idle' || status === 'busy')) void this.open()
  }

  /** After a broken connection some messages are missing; the kernel tells all again. */
  private readonly onConnection = (_: unknown, status: Kernel.ConnectionStatus): void => {
    if (status === 'connected') void this.open()
  }

  private take(message: ToPage): void {
    // Each push is answered, sooner or later: a kernel that hears nothing takes the page for closed.
    this.alive ??= setTimeout(() => { this.alive = null; this.send({ type: 'alive' }) }, aliveMs)
    if (message.type !== 'reply') return this.listener.message(message, this)
    const pending = this.pending.get(message.id)
    this.pending.delete(message.id)
    if ('error' in message) pending?.reject(new Error(message.error))
    else pending?.resolve(message.text)
  }

  private lose(): void {
    if (this.alive) clearTimeout(this.alive)
    this.alive = null
    // JupyterLab forgets the comms of a kernel at some moment of its restart, which may be before this one.
    this.comm?.dispose()
    this.comm = null
    this.fail()
    this.listener.lost(this)
  }

  private fail(): void {
    for (const { reject } of this.pending.values()) reject(new Error('the kernel of this notebook is gone; its runs ended with it, those that are detached go on: await attach(their output folder)'))
    this.pending.clear()
  }
}
