import { Publisher, Reply, Router } from 'zeromq'
import { Wire, type Connection, type Message } from './wire'

/** What the server asks of a session. Each method gets the message and answers with the content of its reply. */
export interface Session {
  kernelInfo(): Record<string, unknown>
  execute(message: Message): Promise<Record<string, unknown>>
  isComplete(code: string): Record<string, unknown>
  complete(code: string, position: number): Record<string, unknown>
  inspect(code: string, position: number): Record<string, unknown>
  interrupt(): void
  /** A comm was opened, brought a message or was closed. */
  comm(message: Message): void
  /** Comms that are open, by id. */
  comms(): Record<string, unknown>
  /** The request of the cell that runs. */
  running(): Message | null
  /** Ends runs and releases what the session holds; the process exits after it. */
  shutdown(): Promise<void>
}

/** The five sockets of a Jupyter kernel. Requests of the shell run side by side; the session queues what must wait. */
export class Server {
  private readonly wire: Wire
  private readonly iopub = new Publisher({ sendHighWaterMark: 0, linger: 500 })
  private readonly shell = new Router({ linger: 500 })
  private readonly control = new Router({ linger: 500 })
  private readonly stdin = new Router({ linger: 0 })
  private readonly heartbeat = new Reply({ linger: 0 })

  constructor(private readonly connection: Connection, private readonly session: (server: Server) => Session) {
    this.wire = new Wire(connection.key)
  }

  /** Binds the sockets and answers until a shutdown request. Resolves once the sockets are bound. */
  async start(): Promise<void> {
    const { transport, ip } = this.connection
    const session = this.session(this)
    const bind = (socket: { bind(address: string): Promise<void> }, port: number) => socket.bind(`${transport}://${ip}:${port}`)
    await Promise.all([
      bind(this.iopub, this.connection.iopub_port), bind(this.shell, this.connection.shell_port), bind(this.control, this.connection.control_port),
      bind(this.stdin, this.connection.stdin_port), bind(this.heartbeat, this.connection.hb_port),
    ])
    void this.listen(this.shell, session)
    void this.listen(this.control, session)
    void this.echo()
    this.publish('status', { execution_state: 'starting' }, null)
  }

  /** Sends a message to every client (streams, display data, status) and tells its size in bytes. */
  publish(type: string, content: unknown, parent: Message | null): number {
    // What is said behind the end (a late error of a cell) has nobody to hear it.
    if (this.iopub.closed) return 0
    const frames = this.wire.encode(type, content, parent)
    void this.iopub.send(frames)
    return frames.reduce((bytes, frame) => bytes + frame.length, 0)
  }

  private async listen(socket: Router, session: Session): Promise<void> {
    for await (const frames of socket) {
      try {
        void this.answer(socket, this.wire.decode(frames as Buffer[]), session)
      } catch (error) {
        process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
      }
    }
  }

  private async answer(socket: Router, message: Message, session: Session): Promise<void> {
    const type = message.header.msg_type
    this.publish('status', { execution_state: 'busy' }, message)
    let content: Record<string, unknown> | null
    try {
      content = await this.dispatch(type, message, session)
    } catch (error) {
      content = { status: 'error', ename: 'KernelError', evalue: error instanceof Error ? error.message : String(error), traceback: [] }
    }
    if (content !== null)
      await socket.send(this.wire.encode(type.replace('_request', '_reply'), { status: 'ok', ...content }, message, message.identity))
    this.publish('status', { execution_state: 'idle' }, message)
    // Clients take the last status for that of the kernel, whatever it answers: a cell that still runs keeps it busy.
    const running = session.running()
    if (running && running !== message) this.publish('status', { execution_state: 'busy' }, running)
    if (type === 'shutdown_request') this.close()
  }

  private async dispatch(type: string, message: Message, session: Session): Promise<Record<string, unknown> | null> {
    const { code = '', cursor_pos = 0, restart = false } = message.content as { code?: string; cursor_pos?: number; restart?: boolean }
    switch (type) {
      case 'kernel_info_request': return session.kernelInfo()
      case 'execute_request': return session.execute(message)
      case 'is_complete_request': return session.isComplete(code)
      case 'complete_request': return session.complete(code, cursor_pos)
      case 'inspect_request': return session.inspect(code, cursor_pos)
      case 'history_request': return { history: [] }
      case 'comm_info_request': return { comms: session.comms() }
      case 'interrupt_request': session.interrupt(); return {}
      case 'shutdown_request': await session.shutdown(); return { restart }
      case 'comm_open': case 'comm_msg': case 'comm_close': session.comm(message); return null
      // The protocol lets a kernel ignore what it does not know (debug_request, …).
      default: return null
    }
  }

  private async echo(): Promise<void> {
    for await (const frames of this.heartbeat) await this.heartbeat.send(frames)
  }

  private close(): void {
    for (const socket of [this.iopub, this.shell, this.control, this.stdin, this.heartbeat]) socket.close()
    // The last reply needs a moment to leave before the process goes.
    setTimeout(() => process.exit(0), 200)
  }
}
