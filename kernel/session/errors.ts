import { inspect, stripVTControlCharacters } from 'node:util'
import { readFrame, type CellSource, type Frame } from './positions'

/** How a failed cell is told to a Jupyter client. */
export interface CellError {
  readonly ename: string
  readonly evalue: string
  readonly traceback: readonly string[]
}

/** One finding of the TypeScript compiler, 0-based. */
export interface Finding { readonly line: number; readonly character: number; readonly text: string; readonly file?: string }

const red = (text: string) => `\x1b[31m${text}\x1b[0m`
const grey = (text: string) => `\x1b[90m${text}\x1b[0m`

/** Own frames that are shown; the others are counted. */
const shownFrames = 8
/** Errors of a cause chain that are shown. */
const shownCauses = 4
/** Characters of a line of code that are shown: a cell may hold a line of data. */
const shownColumns = 120

/** Frames of Node, of tslab, of this kernel and of packages say nothing about the cell. */
const foreign = /^node:|[\\/]node_modules[\\/]|[\\/]kernel[\\/]dist[\\/]|[\\/](?:sdk|native)[\\/]dist[\\/]|^<anonymous>$/

/** The frames of a stack that are the user's own, in the places of their source, and how many others there are. */
export function foldStack(stack: string): { frames: Frame[]; folded: number } {
  const all = stack.split('\n').filter((line) => /^\s+at /.test(line))
  const frames = all.map(readFrame).filter((frame): frame is Frame => frame !== null && !foreign.test(frame.file))
  return { frames, folded: all.length - frames.length }
}

/** Lines of code around a place, the place marked. All 1-based. */
export function codeFrame(code: string, asked: number, askedColumn: number, around = 1): string[] {
  const lines = code.split('\n')
  // The compiler may point behind the last line, where it misses something.
  const line = Math.min(asked, lines.length)
  const column = asked > lines.length ? lines[line - 1].length + 1 : askedColumn
  const first = Math.max(1, line - around), last = Math.min(lines.length, line + around)
  const width = String(last).length
  // Of a very long line the part around the place.
  const from = column > shownColumns - 20 ? column - 40 : 0
  const part = (text: string) => `${from > 0 ? '…' : ''}${text.slice(from, from + shownColumns)}${text.length > from + shownColumns ? '…' : ''}`
  return lines.slice(first - 1, last).flatMap((text, i) => {
    const number = String(first + i).padStart(width)
    if (first + i !== line) return [grey(`    ${number} | ${part(text)}`)]
    const caret = `${' '.repeat(width)} | ${' '.repeat(column - 1 - from + (from > 0 ? 1 : 0))}^`
    return [`  > ${number} | ${part(text)}`, ...(column > 0 ? [red(`    ${caret}`)] : [])]
  })
}

const cellName = ({ count }: CellSource) => `cell [${count}]`

function frameText({ name, file, line, column, cell }: Frame): string {
  const place = cell ? `${cellName(cell)}${line > 0 ? ` ${line}:${column}` : ''}` : `${file}:${line}:${column}`
  return name === '' ? place : `${name} (${place})`
}

/** Frames as text; those of a recursion once, with their count. */
function frameLines(frames: readonly Frame[]): string[] {
  const lines: { text: string; times: number }[] = []
  for (const text of frames.map(frameText)) {
    const last = lines.at(-1)
    if (last?.text === text) last.times++
    else lines.push({ text, times: 1 })
  }
  return lines.slice(0, shownFrames).map(({ text, times }) => grey(`  at ${text}${times > 1 ? ` × ${times}` : ''}`))
}

/** Where it happened: the innermost place in a cell with its line, then the way there. */
function placeOf(stack: string, all: string): string[] {
  const { frames: own, folded } = foldStack(stack)
  const frames = own.filter(({ cell, line }) => cell === null || line > 0)
  const at = frames.find(({ cell }) => cell !== null)
  const shown = at?.cell ? [`  in ${cellName(at.cell)}, line ${at.line}`, ...codeFrame(at.cell.code, at.line, at.column)] : []
  // A single frame that the code above shows already says nothing more.
  const lines = at && frames.length === 1 ? [] : frameLines(frames)
  const hidden = folded + own.length - (lines.length === 0 ? 0 : frames.length)
  return [...shown, ...lines, ...(hidden > 0 ? [grey(`  ${hidden} stack frame${hidden === 1 ? '' : 's'} folded; ${all}`)] : [])]
}

interface Typed { readonly code?: unknown; readonly details?: Readonly<Record<string, unknown>> }

/** Message and remedy of an error of Fettle: "what is wrong; what to do". */
function parts(error: Error, typed: boolean): { what: string; remedy: string | null } {
  const { remedy } = (error as Typed).details ?? {}
  const { message } = error
  if (!typed) return { what: message, remedy: null }
  if (typeof remedy === 'string' && message.includes(`; ${remedy}`)) return { what: message.replace(`; ${remedy}`, () => ''), remedy }
  const [first] = message.split('\n')
  const cut = first.lastIndexOf('; ')
  if (cut < 0) return { what: message, remedy: null }
  return { what: message.slice(0, cut), remedy: message.slice(cut + 2) }
}

/** The lines of one error: class and message in red, what to do, where. */
function linesOf(error: Error, head: string, all: string): string[] {
  const { code, details } = error as Typed
  const typed = typeof code === 'string' && typeof details === 'object' && details !== null
  const { what, remedy } = parts(error, typed)
  const [first, ...more] = what.split('\n')
  const lines = [`${red(`${head}${nameOf(error)}: ${first}`)}`, ...more]
  if (remedy !== null) lines.push(...`→ ${remedy}`.split('\n'))
  return [...lines, ...placeOf(error.stack ?? '', typed ? `${all}.stack, code ${code}` : `${all}.stack`)]
}

function nameOf(error: Error): string {
  // A class that did not set its name: that of the class says more than "Error".
  return error.name === 'Error' && error.constructor?.name ? error.constructor.name : error.name || 'Error'
}

/** Errors of another realm (a `vm` context) and those of Node's own classes. */
const isError = (value: unknown): value is Error =>
  value instanceof Error || (typeof value === 'object' && value !== null && Object.prototype.toString.call(value) === '[object Error]')

/** What a thrown value says: message, remedy, the line of the cell, the frames that are the user's own, and its causes. */
export function describeThrown(thrown: unknown): CellError {
  if (!isError(thrown)) {
    const text = typeof thrown === 'string' ? thrown : inspect(thrown)
    return { ename: 'Thrown', evalue: text, traceback: [...red(`Thrown: ${text}`).split('\n'), '→ throw an Error instead of a plain value: it knows its place'] }
  }
  const traceback = linesOf(thrown, '', 'all of them: error')
  const seen = new Set<unknown>([thrown])
  let path = 'error'
  let cause: unknown = thrown.cause
  for (; isError(cause) && !seen.has(cause) && seen.size <= shownCauses; cause = cause.cause) {
    seen.add(cause)
    path += '.cause'
    traceback.push(...linesOf(cause, 'caused by ', `all of them: ${path}`))
  }
  if (cause !== undefined && cause !== null && !seen.has(cause)) traceback.push(isError(cause) ? grey(`  further causes: ${path}.cause`) : `caused by ${inspect(cause)}`)
  const { errors } = thrown as { errors?: unknown }
  if (Array.isArray(errors)) {
    for (const one of errors.slice(0, shownCauses)) traceback.push(...(isError(one) ? linesOf(one, 'one of them: ', 'all of them: error.errors[i]') : [`one of them: ${inspect(one)}`]))
  }
  return { ename: nameOf(thrown), evalue: thrown.message, traceback }
}

/** An interrupt is no fault: one line, no stack. */
export function describeInterrupt(what: string): CellError {
  return { ename: 'Interrupted', evalue: what, traceback: [`\x1b[33mInterrupted:\x1b[0m ${what}`] }
}

/** Findings of the compiler with the line that each is about. */
export function describeFindings(findings: readonly Finding[], source: string): CellError {
  const traceback = findings.flatMap(({ line, character, text, file }, i) => {
    const place = `${file ? `${file} ` : ''}${line + 1}:${character + 1}`
    const previous = findings[i - 1]
    // The compiler's explanation of a finding comes as further findings at the same place.
    if (previous && previous.line === line && previous.character === character) return [`  ${text}`]
    return [red(`TypeScript ${place} - ${text}`), ...(file === undefined ? codeFrame(source, line + 1, character + 1) : [])]
  })
  return { ename: 'TypeScriptError', evalue: findings.map((f) => `${f.line + 1}:${f.character + 1} - ${f.text}`).join('\n'), traceback }
}

/** Text of a cell error for a terminal without colours. */
export function plainTraceback(error: CellError): string {
  return stripVTControlCharacters(error.traceback.join('\n'))
}
