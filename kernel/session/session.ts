import { AsyncLocalStorage } from 'node:async_hooks'
import { chatHook, showHook } from 'fettle/dist/views'
import { createConverter } from 'tslab/dist/converter'
import { createExecutor, type Executor } from 'tslab/dist/executor'
import * as jupyter from 'tslab/dist/jupyter'
import { Cell } from './cell'
import type { LiveChatBox } from './chat-box'
import { describeFindings, describeInterrupt, describeThrown, type CellError, type Finding } from './errors'
import { Live } from './live'
import { Runs } from './runs'
import { Language } from './language'
import { nameCell } from './positions'
import { columnBefore, runnable } from './source'
import type { Server, Session } from './server'
import { bundleOf, type MimeBundle } from './values'
import type { Message } from './wire'

type Reply = Record<string, unknown>

/** A TypeScript session: tslab's executor, run cell by cell, with real Jupyter errors, displays and interrupts. */
export class TypeScriptSession implements Session {
  private readonly executor: Executor
  private readonly helper: jupyter.JupyterHandlerImpl
  private readonly runs: Runs
  private readonly live: Live
  private readonly converter = createConverter({ isJS: false, isBrowser: false })
  private readonly language = new Language(this.converter)
  private cell: Cell | null = null
  /** The request that runs now. */
  private active: Message | null = null
  /** Carries the cell that work belongs to, also when it goes on behind the cell's end. */
  private readonly owner = new AsyncLocalStorage<Cell>()
  private count = 0
  private queue: Promise<unknown> = Promise.resolve()
  /** Cells queued before the last error are not run. */
  private generation = 0
  private findings: Finding[] = []
  private thrown: { value: unknown } | null = null

  constructor(private readonly server: Server) {
    const converters = { node: this.language.converter, browser: this.converter, close: () => this.converter.close() }
    this.executor = createExecutor(process.cwd(), converters, { log: (value) => this.cell?.result(value), error: (...what) => this.failed(what) })
    this.helper = new jupyter.JupyterHandlerImpl(this.executor, false)
    this.live = new Live((type, content) => server.publish(type, content, null))
    this.runs = new Runs(() => this.cell, () => this.executor.interrupt(), (run, cell) => this.live.show(run, cell), () => this.working)
    const registry = globalThis as unknown as Record<symbol, unknown>
    registry[chatHook] = (chat: LiveChatBox) => { if (this.working) this.live.chat(chat, this.working) }
    registry[showHook] = (value: unknown) => { this.working?.display(bundleOf(value) ?? { 'text/plain': String(value) }) }
    const write = (name: 'stdout' | 'stderr') => (data: string | Uint8Array) => {
      this.working?.write(name, typeof data === 'string' ? data : Buffer.from(data).toString('utf8'))
      return true
    }
    process.stdout.write = write('stdout') as typeof process.stdout.write
    process.stderr.write = write('stderr') as typeof process.stderr.write
  }

  /** The cell that the present work belongs to. */
  private get working(): Cell | null { return this.owner.getStore() ?? this.cell }

  /** Compiles an import once, so that the first cell does not pay for it. */
  warm(): void {
    this.converter.convert('', "import * as fettle from 'fettle'\nfettle")
  }

  kernelInfo(): Reply {
    const info = this.helper.handleKernel() as unknown as { language_info: Reply }
    return { ...info, implementation: 'fettle', implementation_version: '0.1.0', banner: 'Fettle: fine-tune language models from TypeScript',
      language_info: { ...info.language_info, version: '5.0' } }
  }

  isComplete(code: string): Reply { return this.helper.handleIsComplete({ code }) as unknown as Reply }
  complete(code: string, position: number): Reply { return this.language.complete(code, position) }
  inspect(code: string, position: number): Reply { return this.language.inspect(code, position) }

  interrupt(): void { this.runs.interrupt() }

  comm(message: Message): void { this.live.comm(message) }
  comms(): Reply { return this.live.openComms() }
  running(): Message | null { return this.active }

  /** Tells what a cell threw where nothing could catch it, under that cell; the session goes on. */
  stray(kind: string, thrown: unknown): void {
    const text = `${kind}\n${describeThrown(thrown).traceback.join('\n')}\n`
    this.working?.write('stderr', text)
  }

  async shutdown(): Promise<void> {
    await this.runs.shutdown()
    await this.live.close()
    this.executor.close()
  }

  execute(message: Message): Promise<Reply> {
    const generation = this.generation
    const result = this.queue.then(() => generation === this.generation ? this.run(message).finally(() => { this.active = null }) : { status: 'aborted' })
    this.queue = result.catch(() => undefined)
    return result
  }

  private async run(message: Message): Promise<Reply> {
    const { code, silent = false, stop_on_error: stopOnError = true } = message.content as { code: string; silent?: boolean; stop_on_error?: boolean }
    const cell = new Cell(this.server, message, silent ? this.count : ++this.count)
    this.enter(cell)
    if (!silent) cell.publish('execute_input', { code, execution_count: cell.count })
    nameCell(cell.count, code)
    const ok = await this.owner.run(cell, () => this.executor.execute(runnable(code)))
    this.language.ended(ok)
    // Output of the last turn, such as that of `console.log` in a resolved promise, belongs before the reply.
    await new Promise((resolve) => setImmediate(resolve))
    cell.flush()
    const stopped = await this.runs.leave()
    const error = stopped ?? (ok ? null : this.error(code))
    if (!error) return { execution_count: cell.count, payload: [], user_expressions: {} }
    cell.publish('error', error)
    if (stopOnError) await this.abortQueued()
    return { status: 'error', execution_count: cell.count, ...error }
  }

  private enter(cell: Cell): void {
    this.cell = cell
    this.active = cell.message
    this.live.enter(cell)
    this.findings = []
    this.thrown = null
    this.runs.enter()
    // tslab's own `display` object writes through this variable of its module.
    const shared = jupyter as unknown as { lastWriteDisplayData: unknown }
    shared.lastWriteDisplayData = (output: { data: MimeBundle; transient?: { display_id?: string } }, update: boolean) =>
      cell.display(output.data, output.transient?.display_id ?? null, update)
  }

  /** tslab reports findings of the compiler as a format string with values, and what a cell threw as it is. */
  private failed(what: unknown[]): void {
    if (what.length === 5 && what[0] === '%s%d:%d - %s') {
      const [, file, line, character, text] = what as [string, string, number, number, string]
      const at = file ? character - 1 : columnBefore(String(this.cell?.message.content.code ?? ''), line - 1, character - 1)
      this.findings.push({ line: line - 1, character: at, text, ...(file ? { file: file.trim() } : {}) })
    } else this.thrown = { value: what[0] }
  }

  private error(code: string): CellError {
    if (!this.thrown) return describeFindings(this.findings, code)
    const { message, code: kind } = (this.thrown.value ?? {}) as { message?: unknown; code?: unknown }
    // tslab ends a waiting cell with this message, Node a running one with this code.
    const interrupted = message === 'Interrupted asynchronously' || kind === 'ERR_SCRIPT_EXECUTION_INTERRUPTED'
    return interrupted ? describeInterrupt('the cell was left; what it had started may go on behind it.') : describeThrown(this.thrown.value)
  }

  /** Cells that the client had sent before it could see this error are aborted; some may still be in the socket. */
  private async abortQueued(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 20))
    this.generation++
  }
}
