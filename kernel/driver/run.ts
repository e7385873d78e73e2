import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { KernelClient, type ServerAddress } from './client'
import { NotebookError } from './error'
import { injectParameters, readNotebook, writeNotebook, type Notebook, type NotebookCell } from './notebook'
import { Outputs, type OutputChange } from './outputs'
import { startServer } from './server'

/** Options of `runNotebook`. */
export interface RunNotebookOptions {
  /** Where the executed notebook is saved. Default: over the notebook itself. */
  readonly output?: string
  /** A running Jupyter server, such as `http://127.0.0.1:8888/`. Default: an own one, for this run alone. */
  readonly server?: string
  /** Token of that server. */
  readonly token?: string
  /** Folder of the notebook on that server, relative to its root. */
  readonly folder?: string
  /** Kernel to run in. Default: the one the notebook names, else `fettle`. */
  readonly kernel?: string
  /** Called with each new or changed output. */
  readonly onOutput?: (change: OutputChange) => void
  /** Called before each code cell. */
  readonly onCell?: (cell: { readonly index: number; readonly count: number; readonly source: string }) => void
  /** ms that one cell may take. Default: no limit. */
  readonly timeout?: number
  /** Values for the variables of the cell tagged `parameters`. */
  readonly parameters?: Readonly<Record<string, unknown>>
  /** Goes on behind a cell that fails, as behind one that is tagged `raises-exception`. Default: the first error ends the run. */
  readonly allowErrors?: boolean
  /** Stops the run: the cell is interrupted. */
  readonly signal?: AbortSignal
}

/**
 * Runs a notebook from the first cell to the last without a browser, and saves it with its outputs. Stops at the first error
 * with a `NotebookError`; the notebook is saved then too. The kernel, and a server of its own, always end.
 */
export async function runNotebook(file: string, options: RunNotebookOptions = {}): Promise<Notebook> {
  const source = path.resolve(file)
  const notebook = readNotebook(source)
  injectParameters(notebook, options.parameters ?? {})
  const target = path.resolve(options.output ?? source)
  mkdirSync(path.dirname(target), { recursive: true })
  const local = options.server === undefined ? await startServer({ root: path.dirname(source), args: ['--ServerApp.terminals_enabled=False', '--ServerApp.jpserver_extensions=jupyterlab=False'] }) : null
  const address: ServerAddress = local ?? { url: options.server as string, token: options.token ?? '' }
  try {
    await runOn(address, notebook, target, options)
    return notebook
  } finally {
    await local?.stop()
  }
}

async function runOn(address: ServerAddress, notebook: Notebook, target: string, options: RunNotebookOptions): Promise<void> {
  const spec = notebook.metadata.kernelspec as { name?: string } | undefined
  const client = await KernelClient.start(address, options.kernel ?? spec?.name ?? 'fettle', options.folder ?? '')
  const outputs = new Outputs(notebook.cells)
  const cellOf = new Map<string, number>()
  client.onOutput((parent, message) => {
    const index = cellOf.get(parent)
    if (index === undefined) return
    for (const change of outputs.take(index, { type: message.header.msg_type, content: message.content as Record<string, unknown> })) options.onOutput?.(change)
  })
  try {
    notebook.metadata.language_info = (await client.kernel.info).language_info
    const count = notebook.cells.filter((cell) => cell.cell_type === 'code').length
    for (const [index, cell] of notebook.cells.entries()) {
      if (cell.cell_type !== 'code' || cell.source.trim() === '') continue
      if (options.signal?.aborted) throw new NotebookError('notebook.aborted', `the notebook was ended before cell ${index}, as asked`, { cell: index })
      options.onCell?.({ index, count, source: cell.source })
      await runCell(client, cell, index, cellOf, options)
    }
  } finally {
    // Before the shutdown, which may fail; and after it, when what the kernel showed at its end has come.
    writeNotebook(target, notebook)
    await client.shutdown()
    writeNotebook(target, notebook)
  }
}

async function runCell(client: KernelClient, cell: NotebookCell, index: number, cellOf: Map<string, number>, options: RunNotebookOptions): Promise<void> {
  const { id, reply } = client.execute(cell.source, cell.id, cell.metadata.tags)
  cellOf.set(id, index)
  let cut: NotebookError | null = null
  const stop = (error: NotebookError) => { cut ??= error; void client.interrupt() }
  const timer = options.timeout === undefined ? undefined
    : setTimeout(() => stop(new NotebookError('notebook.timeout', `cell ${index} ran longer than ${options.timeout} ms and was interrupted; give it more time, or less work`, { cell: index, timeout: options.timeout })), options.timeout)
  const aborted = () => stop(new NotebookError('notebook.aborted', `cell ${index} was interrupted, as asked`, { cell: index }))
  if (options.signal?.aborted) aborted()
  options.signal?.addEventListener('abort', aborted, { once: true })
  try {
    const { content } = await reply
    cell.execution_count = content.execution_count ?? null
    if (cut) throw cut
    if (content.status === 'ok' || (content.status === 'error' && (options.allowErrors || cell.metadata.tags?.includes('raises-exception')))) return
    const { ename = 'Aborted', evalue = 'the kernel did not run it', traceback = [] } = content as { ename?: string; evalue?: string; traceback?: string[] }
    throw new NotebookError('notebook.cell', `cell ${index} failed: ${ename}: ${evalue}`, { cell: index, ename, evalue, traceback, source: cell.source })
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', aborted)
  }
}
