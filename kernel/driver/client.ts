import type { Kernel, KernelManager, KernelMessage } from '@jupyterlab/services'
import { NotebookError } from './error'

/** Where a Jupyter server answers. */
export interface ServerAddress { readonly url: string; readonly token: string }

let quiet = false

/** The client library tells the console of each connection; what a program prints stays its own. */
function quietClient(): void {
  if (quiet) return
  quiet = true
  const debug = console.debug
  console.debug = (...what: unknown[]) => { if (!/^(Starting WebSocket|Kernel): /.test(String(what[0]))) debug(...what) }
}

/** A kernel on a Jupyter server, reached from plain Node through @jupyterlab/services. */
export class KernelClient {
  private constructor(private readonly manager: KernelManager, readonly kernel: Kernel.IKernelConnection) {}

  /** Starts a kernel; `folder` is relative to the server's root. */
  static async start(address: ServerAddress, name: string, folder: string): Promise<KernelClient> {
    quietClient()
    // Loaded here, because it takes most of a second and half of our users never run a notebook from Node.
    const services = require('@jupyterlab/services') as typeof import('@jupyterlab/services')
    const serverSettings = services.ServerConnection.makeSettings({
      baseUrl: address.url, wsUrl: address.url.replace(/^http/, 'ws'), token: address.token, appendToken: true, WebSocket: require('ws'),
    })
    const manager = new services.KernelManager({ serverSettings, standby: 'never' })
    try {
      // The server takes `path` (the kernel's folder) too; the client's type leaves it out.
      const kernel = await manager.startNew({ name, path: folder } as { name: string })
      await kernel.info
      return new KernelClient(manager, kernel)
    } catch (cause) {
      manager.dispose()
      throw new NotebookError('notebook.kernel', `cannot start the kernel "${name}" on ${address.url}: ${(cause as Error).message}; install it with: npx fettle-kernel install`, { kernel: name }, { cause })
    }
  }

  /** Calls back for each message that the kernel sends to everyone, with the id of the request that it answers. */
  onOutput(take: (parent: string, message: KernelMessage.IIOPubMessage) => void): void {
    this.kernel.iopubMessage.connect((_, message) => {
      take((message.parent_header as { msg_id?: string }).msg_id ?? '', message)
    })
  }

  /** Sends a cell; the id is known before any of its outputs comes. */
  execute(code: string, cellId: string): { id: string; reply: Promise<KernelMessage.IExecuteReplyMsg> } {
    const future = this.kernel.requestExecute({ code, stop_on_error: true, allow_stdin: false }, false, { cellId })
    const died = new Promise<never>((_, reject) => {
      this.kernel.statusChanged.connect((_, status) => {
        if (status === 'dead' || status === 'autorestarting')
          reject(new NotebookError('notebook.kernelDied', 'the kernel ended while a cell ran; most often memory ran out: try smaller batches', { status }))
      })
    })
    died.catch(() => { /* Told by whoever waits for the reply. */ })
    const reply = Promise.race([future.done, died]) as Promise<KernelMessage.IExecuteReplyMsg>
    return { id: future.msg.header.msg_id, reply }
  }

  async interrupt(): Promise<void> { await this.kernel.interrupt() }

  /** Lets go of the kernel without asking its server for anything. */
  abandon(): void {
    this.kernel.dispose()
    this.manager.dispose()
  }

  async shutdown(): Promise<void> {
    await this.kernel.shutdown().catch(() => { /* A kernel that is gone already is what we want. */ })
    this.abandon()
  }
}
