import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { NotebookError } from './error'

/** Data of an output by MIME type: text as a string, JSON as data. */
export type MimeData = Record<string, unknown>

/** One output of a code cell (nbformat 4.5). */
export type NotebookOutput =
  | {
    output_type: 'stream'
    /** Which stream. */
    name: 'stdout' | 'stderr'
    /** What was written to it. */
    text: string
  }
  | (Shown & { output_type: 'display_data' })
  | (Shown & {
    output_type: 'execute_result'
    /** How many cells the kernel had run with this one. */
    execution_count: number | null
  })
  | {
    output_type: 'error'
    /** Class of the error, such as `PlanError`. */
    ename: string
    /** Its message. */
    evalue: string
    /** Lines for a terminal, with colours. */
    traceback: string[]
  }

interface Shown {
  /** The value by MIME type. */
  data: MimeData
  /** Settings of the display, by MIME type. */
  metadata: Record<string, unknown>
}

/** One cell (nbformat 4.5), its text joined. */
export interface NotebookCell {
  /** Unique in its notebook. */
  id: string
  /** What it holds. */
  cell_type: 'code' | 'markdown' | 'raw'
  /** Settings; `parameters` among the tags marks the cell whose variables are set from outside. */
  metadata: Record<string, unknown> & { tags?: string[] }
  /** Its text. */
  source: string
  /** How many cells the kernel had run with it; `null` before. */
  execution_count?: number | null
  /** Of a code cell. */
  outputs?: NotebookOutput[]
}

/** A notebook as its file holds it (nbformat 4.5). */
export interface Notebook {
  /** In order. */
  cells: NotebookCell[]
  /** Settings; `kernelspec` names the kernel. */
  metadata: Record<string, unknown>
  /** Version of the layout. */
  nbformat: 4
  /** The same, behind the point. */
  nbformat_minor: 5
}

const joined = (text: unknown): string => Array.isArray(text) ? text.join('') : String(text ?? '')

/** Reads a notebook of nbformat 4; older minor versions are brought to 4.5 (cells get ids). */
export function readNotebook(file: string): Notebook {
  let data: Partial<Notebook> & { nbformat?: unknown }
  try {
    data = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new NotebookError('notebook.file', `cannot read ${file} as a notebook: ${(cause as Error).message}; give the path of an .ipynb file`, { file }, { cause })
  }
  if (data.nbformat !== 4 || !Array.isArray(data.cells))
    throw new NotebookError('notebook.format', `expected nbformat 4 in ${file}, got ${String(data.nbformat)}; convert it with: jupyter nbconvert --to notebook --inplace`, { file, nbformat: data.nbformat })
  const cells = data.cells.map((cell): NotebookCell => ({
    ...cell, id: cell.id ?? randomUUID().slice(0, 8), source: joined(cell.source),
    ...(cell.cell_type === 'code' ? { execution_count: null, outputs: [] } : {}),
  }))
  return { cells, metadata: data.metadata ?? {}, nbformat: 4, nbformat_minor: 5 }
}

/** Text as nbformat keeps it: an array of lines, each with its newline. */
function lines(text: string): string[] {
  return text === '' ? [] : text.split(/(?<=\n)/)
}

/** A line that was written over by carriage returns (progress bars) shows only its last state. */
export function settleReturns(text: string): string {
  return text.replace(/^[^\n]*\r(?!\n)/gm, '')
}

function outputOnDisk(output: NotebookOutput): object {
  if (output.output_type === 'stream') return { ...output, text: lines(settleReturns(output.text)) }
  if (output.output_type === 'error') return output
  const data = Object.fromEntries(Object.entries(output.data).map(([type, value]) => [type, typeof value === 'string' && !/json$/.test(type) ? lines(value) : value]))
  return { ...output, data }
}

/** Writes a notebook as Jupyter does (indent 1, lines as arrays), whole or not at all. */
export function writeNotebook(file: string, notebook: Notebook): void {
  const cells = notebook.cells.map((cell) => ({
    ...cell, source: lines(cell.source), ...(cell.outputs ? { outputs: cell.outputs.map(outputOnDisk) } : {}),
  }))
  const partial = `${file}.${process.pid}.partial`
  writeFileSync(partial, `${JSON.stringify({ ...notebook, cells }, null, 1)}\n`)
  renameSync(partial, file)
}

/** Puts assignments behind the cell tagged `parameters` (as papermill does); its variables must be declared with `let`. */
export function injectParameters(notebook: Notebook, parameters: Readonly<Record<string, unknown>>): void {
  const names = Object.keys(parameters)
  if (names.length === 0) return
  const at = notebook.cells.findIndex((cell) => cell.metadata.tags?.includes('parameters'))
  if (at < 0)
    throw new NotebookError('notebook.parameters', `expected a cell tagged "parameters" for ${names.join(', ')}, got none; tag the cell that declares them`, { names })
  const source = names.map((name) => `${name} = ${JSON.stringify(parameters[name])}`).join('\n')
  notebook.cells.splice(at + 1, 0, { id: randomUUID().slice(0, 8), cell_type: 'code', metadata: { tags: ['injected-parameters'] }, source, execution_count: null, outputs: [] })
}
