import type { Kernel, KernelManager, KernelMessage } from '@jupyterlab/services'
import { within } from 'fettle/dist/process'
import { NotebookError } from './error'

/** Where a Jupyter server answers. */
export interface ServerAddress { readonly url: string; readonly token: string }

/** ms that a connection may be gone before a cell is given up. */
const silence = 20_000

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
  private ending: Promise<never> | null = null

  private constructor(private readonly manager: KernelManager, readonly kernel: Kernel.IKernelConnection) {}

  /**
   * Starts a kernel; `folder` is relative to the server's root.
   * @throws NotebookError `notebook.server` (nobody answers), `notebook.token` (the server refuses it), `notebook.kernel`
   */
  static async start(address: ServerAddress, name: string, folder: string): Promise<KernelClient> {
    const baseUrl = address.url.endsWith('/') ? address.url : `${address.url}/`
    const { token } = address
    await checkKernel(baseUrl, token, name)
    quietClient()
    // Loaded here, because it takes most of a second and half of our users never run a notebook from Node.
    const services = require('@jupyterlab/services') as typeof import('@jupyterlab/services')
    const serverSettings = services.ServerConnection.makeSettings({
      baseUrl, wsUrl: baseUrl.replace(/^http/, 'ws'), token, appendToken: false, WebSocket: socketWith(token),
    })
    const manager = new services.KernelManager({ serverSettings, standby: 'never' })
    // It asks for the running kernels by itself; a failure there is not ours to tell, and must not end the process.
    manager.ready.catch(() => {})
    try {
      // The server takes `path` (the kernel's folder) too; the client's type leaves it out.
      const kernel = await manager.startNew({ name, path: folder } as { name: string })
      await kernel.info
      return new KernelClient(manager, kernel)
    } catch (cause) {
      manager.dispose()
      throw new NotebookError('notebook.kernel', `cannot start the kernel "${name}" on ${baseUrl}: ${(cause as Error).message}; the server's own log says more`, { kernel: name }, { cause })
    }
  }

  /** Calls back for each message that the kernel sends to everyone, with the id of the request that it answers. */
  onOutput(take: (parent: string, message: KernelMessage.IIOPubMessage) => void): void {
    this.kernel.iopubMessage.connect((_, message) => {
      take((message.parent_header as { msg_id?: string }).msg_id ?? '', message)
    })
  }

  /** Sends a cell; the id is known before any of its outputs comes. The kernel shows no value of a cell tagged `injected-parameters`. */
  execute(code: string, cellId: string, tags: readonly string[] = []): { id: string; reply: Promise<KernelMessage.IExecuteReplyMsg> } {
    const future = this.kernel.requestExecute({ code, stop_on_error: true, allow_stdin: false }, false, { cellId, tags: [...tags] })
    return { id: future.msg.header.msg_id, reply: Promise.race([future.done, this.broken()]) as Promise<KernelMessage.IExecuteReplyMsg> }
  }

  /** Rejects when the kernel ends, or its server is not heard of for `silence` ms. Listens once for all cells. */
  private broken(): Promise<never> {
    this.ending ??= new Promise<never>((_, reject) => {
      let waiting: NodeJS.Timeout | undefined
      const lost = () => reject(new NotebookError('notebook.connection', `the connection to the server was lost while a cell ran; see whether the server at ${this.manager.serverSettings.baseUrl} still runs, and run the notebook again`, { url: this.manager.serverSettings.baseUrl }))
      this.kernel.statusChanged.connect((_, status) => {
        if (status === 'dead' || status === 'autorestarting')
          reject(new NotebookError('notebook.kernelDied', 'the kernel ended while a cell ran; most often memory ran out: try smaller batches', { status }))
      })
      this.kernel.connectionStatusChanged.connect((_, status) => {
        clearTimeout(waiting)
        if (status === 'disconnected') lost()
        if (status === 'connecting') waiting = setTimeout(lost, silence)
      })
    })
    this.ending.catch(() => { /* Told by whoever waits for a reply. */ })
    return this.ending
  }

  /** Asks for an interrupt; a server that cannot be asked any more is told by the cell's own reply. */
  async interrupt(): Promise<void> { await this.kernel.interrupt().catch(() => {}) }

  /** Lets go of the kernel without asking its server for anything. */
  abandon(): void {
    this.kernel.dispose()
    this.manager.dispose()
  }

  async shutdown(): Promise<void> {
    await this.settled()
    const over = this.kernel.shutdown().catch(() => { /* A kernel that is gone already is what we want. */ })
    // A server that does not answer must not keep a program waiting.
    await within(15_000, over)
    this.abandon()
  }

  /** Waits for a connection that is being made anew: the client library leaves a rejection that nobody catches when it is
   * let go meanwhile. */
  private async settled(): Promise<void> {
    const until = Date.now() + 5_000
    while (this.kernel.connectionStatus === 'connecting' && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** A WebSocket that shows the token in a header: an address stands in the logs of every server on the way. */
function socketWith(token: string): typeof WebSocket {
  const { WebSocket: Socket } = require('ws') as { WebSocket: new (url: string, protocols: string | string[], options: object) => object }
  class TokenSocket extends Socket {
    constructor(url: string, protocols: string | string[]) { super(url, protocols, { headers: { Authorization: `token ${token}` } }) }
  }
  return TokenSocket as unknown as typeof WebSocket
}

/** Asks the server for its kernels: whether it is there, lets us in, and knows this one. */
async function checkKernel(baseUrl: string, token: string, name: string): Promise<void> {
  let answer: Response
  try {
    answer = await fetch(new URL('api/kernelspecs', baseUrl), { headers: { Authorization: `token ${token}` }, signal: AbortSignal.timeout(20_000) })
  } catch (cause) {
    const { message, cause: why } = cause as Error & { cause?: { message?: string } }
    throw new NotebookError('notebook.server', `no Jupyter server answers at ${baseUrl} (${why?.message ?? message}); start it, or check the address`, { url: baseUrl }, { cause })
  }
  if (answer.status === 401 || answer.status === 403)
    throw new NotebookError('notebook.token', `the Jupyter server at ${baseUrl} refuses the token (${answer.status}); give the one that it printed at its start, or that \`jupyter server list\` shows`, { url: baseUrl, status: answer.status })
  if (!answer.ok)
    throw new NotebookError('notebook.server', `${baseUrl} answers ${answer.status} ${answer.statusText} to api/kernelspecs; check that it is the base address of a Jupyter server, its prefix included`, { url: baseUrl, status: answer.status })
  const { kernelspecs = {} } = await answer.json() as { kernelspecs?: Record<string, unknown> }
  if (!(name in kernelspecs))
    throw new NotebookError('notebook.kernel', `the Jupyter server at ${baseUrl} has no kernel "${name}" (it has ${Object.keys(kernelspecs).join(', ') || 'none'}); there, run: npx fettle-kernel install`, { kernel: name, found: Object.keys(kernelspecs) })
}
