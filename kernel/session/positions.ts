import { SourceMap, type SourceMapPayload } from 'node:module'
import path from 'node:path'
import vm from 'node:vm'
import type * as typescript from '@tslab/typescript-for-tslab'
import { columnBefore } from './source'

/** A place in a cell or in a file that a cell imports, 1-based. */
export interface Place { readonly line: number; readonly column: number }

/** The source of a cell that ran: its execution count and what stood in it. */
export interface CellSource { readonly count: number; readonly code: string }

/** A frame of a stack, in the words of the source: `cell` where it is a cell's; line 0 stands for no place in it. */
export interface Frame extends Place { readonly name: string; readonly file: string; readonly cell: CellSource | null }

/** How tslab runs a cell: its code between these. */
const heads = ['(async function(exports, require) { ', '(function(exports, require) { ']
const tail = '\n})(__tslab__.exports, __tslab__.require)'
const label = 'fettle-cell-'
const inlineMap = /\n?\/\/# sourceMappingURL=data:application\/json;base64,([\w+/=]+)\s*$/
const outDir = 'outDir'

/** tslab compiles a cell in two steps, TypeScript to modules and modules to CommonJS: the maps of both, last first. */
interface Compiled { readonly code: string; readonly maps: readonly SourceMap[] }

interface Script { readonly source: CellSource; readonly maps: readonly SourceMap[]; readonly lines: number }

const cells = new Map<string, Script>()
const files = new Map<string, { readonly file: string; readonly maps: readonly SourceMap[] }>()
let latest: Compiled | null = null
let running: CellSource = { count: 0, code: '' }
let serial = 0

/** Tells which cell the code belongs to that is run next. */
export function nameCell(count: number, code: string): void { running = { count, code } }

/** Compiler options and library functions that tslab needs for code whose places are known. */
export function traceable(ts: typeof typescript): Pick<typeof typescript, 'transpileModule'> {
  return {
    transpileModule(input: string, options: typescript.TranspileOptions) {
      const first = inlineMap.exec(input)
      if (!first) return ts.transpileModule(input, options)
      const before = JSON.parse(Buffer.from(first[1], 'base64').toString('utf8')) as SourceMapPayload
      const out = ts.transpileModule(input.slice(0, first.index), { ...options, compilerOptions: { ...options.compilerOptions, sourceMap: true } })
      const code = out.outputText.replace(/\n?\/\/# sourceMappingURL=\S+\s*$/, '\n')
      remember(code, [JSON.parse(out.sourceMapText ?? '{}') as SourceMapPayload, before])
      return { ...out, outputText: code }
    },
  }
}

function remember(code: string, payloads: readonly SourceMapPayload[]): void {
  const maps = payloads.map((payload) => new SourceMap(payload))
  const source = path.resolve(outDir, payloads[payloads.length - 1].sources[0] ?? '')
  if (path.basename(source) === '__tslab__.ts') latest = { code, maps }
  else files.set(source.replace(/\.([cm]?)tsx?$/, '.$1js'), { file: source, maps })
}

/** Gives each cell that tslab runs a name of its own, so that a stack tells them apart. */
export function nameScripts(): void {
  const run = vm.runInThisContext
  vm.runInThisContext = (code, options) => {
    const head = typeof code === 'string' && code.endsWith(tail) ? heads.find((text) => code.startsWith(text)) : undefined
    if (head === undefined || typeof options === 'string') return run(code, options)
    const filename = `${label}${++serial}`
    const maps = latest && latest.code === code.slice(head.length, -tail.length) ? latest.maps : []
    cells.set(filename, { source: running, maps, lines: (code as string).split('\n').length })
    return run(code, { ...options, filename, columnOffset: -head.length })
  }
}

/** The place in the source that a compiled one (0-based) was made of. */
function back(maps: readonly SourceMap[], line: number, column: number): Place | null {
  let at = { line, column }
  for (const map of maps) {
    const entry = map.findEntry(at.line, at.column)
    if (!('originalLine' in entry)) return null
    at = { line: entry.originalLine, column: entry.originalColumn }
  }
  return at
}

/** Reads a line of `error.stack`; `null` for what is none, or has no place. */
export function readFrame(text: string): Frame | null {
  const [, name = '', file, line, column] = /^\s*at (?:(.*) \()?(.+?):(\d+):(\d+)\)?$/.exec(text) ?? []
  if (file === undefined) return null
  const written = { name: readable(name), file: file.replace(/^(?:async )?(?:file:\/\/)?/, ''), line: Number(line), column: Number(column), cell: null }
  const cell = cells.get(written.file)
  if (cell) return inCell(written, cell)
  const side = files.get(written.file)
  const place = side && back(side.maps, written.line - 1, written.column - 1)
  return side && place ? { ...written, file: side.file, line: place.line + 1, column: place.column + 1 } : written
}

function inCell(written: Frame, { source, maps, lines }: Script): Frame {
  // The last line is the call that tslab wraps a cell in.
  const place = written.line >= lines ? null : back(maps, written.line - 1, Math.max(0, written.column - 1))
  // tslab puts a line before the cell.
  const line = place ? place.line - 1 : 0
  if (!place || line < 0 || line >= source.code.split('\n').length) return { ...written, cell: source, line: 0, column: 0 }
  return { ...written, cell: source, line: line + 1, column: columnBefore(source.code, line, place.column) + 1 }
}

/** tslab writes the functions of a cell as properties of its exports. */
function readable(name: string): string {
  return name.replace(/^(async )?(?:Object|Proxy|exports)\.(?=\w)/, '$1')
}
