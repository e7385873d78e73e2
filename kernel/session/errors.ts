import { inspect, stripVTControlCharacters } from 'node:util'

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

/** Frames of Node, of tslab and of this kernel say nothing about the cell. */
const foreign = /node:|[\\/]tslab[\\/]|fettle-kernel|[\\/]kernel[\\/]dist[\\/]session|^\s*at new Promise \(<anonymous>\)/

/** The stack without its message, foreign frames folded into a count. */
export function foldStack(stack: string): { frames: string[]; folded: number } {
  const all = stack.split('\n').filter((line) => /^\s+at /.test(line))
  const frames = all.filter((line) => !foreign.test(line)).map((line) => line.trim().replace(/evalmachine\.<anonymous>/, 'cell'))
  return { frames, folded: all.length - frames.length }
}

/** What a thrown value says: for errors of Fettle the message alone (it holds what, where and what to do), for others the
 * frames that are the user's own. */
export function describeThrown(thrown: unknown): CellError {
  if (!(thrown instanceof Error)) {
    const text = typeof thrown === 'string' ? thrown : inspect(thrown)
    return { ename: 'Thrown', evalue: text, traceback: [red('Thrown: ') + text] }
  }
  const { code, details } = thrown as Error & { code?: unknown; details?: Readonly<Record<string, unknown>> }
  const typed = typeof code === 'string' && typeof details === 'object'
  const { frames, folded } = foldStack(thrown.stack ?? '')
  const head = `${red(`${thrown.name}:`)} ${thrown.message}`
  const traceback = head.split('\n')
  if (typed) traceback.push(grey(`code ${code}; ${frames.length + folded} stack frames folded (error.stack)`))
  else traceback.push(...frames.slice(0, 8).map((frame) => grey(`    ${frame}`)))
  if (thrown.cause instanceof Error) traceback.push(grey(`caused by ${thrown.cause.name}: ${thrown.cause.message}`))
  return { ename: thrown.name, evalue: thrown.message, traceback }
}

/** An interrupt is no fault: one line, no stack. */
export function describeInterrupt(what: string): CellError {
  return { ename: 'Interrupted', evalue: what, traceback: [`\x1b[33mInterrupted:\x1b[0m ${what}`] }
}

/** Findings of the compiler with the line that each is about. */
export function describeFindings(findings: readonly Finding[], source: string): CellError {
  const lines = source.split('\n')
  const traceback = findings.flatMap(({ line, character, text, file }, i) => {
    const place = `${file ? `${file} ` : ''}${line + 1}:${character + 1}`
    const previous = findings[i - 1]
    // The compiler's explanation of a finding comes as further findings at the same place.
    if (previous && previous.line === line && previous.character === character) return [`  ${text}`]
    const code = file === undefined ? lines[line] : undefined
    return [`${red(`TypeScript ${place}`)} - ${text}`, ...(code === undefined ? [] : [grey(`    ${code}`), grey(`    ${' '.repeat(character)}^`)])]
  })
  return { ename: 'TypeScriptError', evalue: findings.map((f) => `${f.line + 1}:${f.character + 1} - ${f.text}`).join('\n'), traceback }
}

/** Text of a cell error for a terminal without colours. */
export function plainTraceback(error: CellError): string {
  return stripVTControlCharacters(error.traceback.join('\n'))
}
