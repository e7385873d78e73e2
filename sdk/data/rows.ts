import { isUtf8 } from 'node:buffer'
import { DataError } from '../errors'
import { scanJson, type JsonScan } from './json-scan'
import { readLines, type Line } from './lines'

/** A record of the source: one round, or several in order. Always as many targets as sources. */
export interface DataRow {
  readonly src: readonly string[]
  readonly tgt: readonly string[]
  readonly file: string
  readonly line: number
  /** Bytes of the line, for progress. */
  readonly bytes: number
}

/** What was passed over while reading; filled as rows are read. */
export interface ReadStats {
  /** Names of fields that are neither src nor tgt, with the number of rows that had them. */
  readonly ignoredFields: Map<string, number>
  blankLines: number
  firstBlank: string | null
}

export function newReadStats(): ReadStats {
  return { ignoredFields: new Map(), blankLines: 0, firstBlank: null }
}

/** Names that other tools give to the two fields. */
const otherNames: Readonly<Record<string, string>> = {
  content: 'summary', instruction: 'output', prompt: 'completion', input: 'output', question: 'answer', source: 'target'
}

/**
 * Reads files of one JSON object a line, `{"src": …, "tgt": …}`, both strings or lists of strings of equal length (the
 * rounds of a chat). Nothing is passed over in silence: a line that is not such an object is an error with file, line and
 * column; blank lines between rows and further fields are counted in `stats`; blank lines at the end mean nothing.
 * @throws DataError `data.json`, `data.field`, `data.encoding`, `data.format`, `data.empty`
 */
export function* readRows(files: readonly string[], stats: ReadStats = newReadStats()): Generator<DataRow> {
  for (const file of files) {
    let rows = 0
    const blanks = new BlankLines(file, stats)
    for (const line of readLines(file)) {
      const row = parseLine(file, line, rows === 0, stats)
      blanks.pass(line.number, row !== null)
      if (row === null) continue
      yield row
      rows++
    }
    if (rows === 0) throw noRows(file)
  }
}

/** Counts the blank lines of a file that rows follow. */
export class BlankLines {
  private waiting = 0
  private first = 0

  constructor(private readonly file: string, private readonly stats: ReadStats) {}

  /** Takes lines in order: one, or `count` blank ones. */
  pass(line: number, isRow: boolean, count = 1): void {
    if (!isRow) {
      if (this.waiting === 0) this.first = line
      this.waiting += count
    } else if (this.waiting > 0) {
      this.stats.firstBlank ??= `${this.file}:${this.first}`
      this.stats.blankLines += this.waiting
      this.waiting = 0
    }
  }
}

/** A file without a row. */
export function noRows(file: string): DataError {
  return new DataError('data.empty', `${file}: has no rows; expected one {"src": …, "tgt": …} a line`, { file })
}

/**
 * The row of one line; null for a blank one.
 * @param first no row of the file stands before it
 * @throws DataError `data.json`, `data.field`, `data.encoding`, `data.format`
 */
export function parseLine(file: string, line: Line, first: boolean, stats: ReadStats): DataRow | null {
  const text = decode(file, line)
  return isBlank(text) ? null : parseRow({ file, line: line.number, text, first }, line.bytes.length, stats)
}

/** Most lines begin with their object: they need no copy without white space. */
function isBlank(text: string): boolean { return text[0] !== '{' && text.trim() === '' }

interface Source { readonly file: string; readonly line: number; readonly text: string; readonly first: boolean }

function decode(file: string, { bytes, number, offset }: Line): string {
  if (isUtf8(bytes)) return bytes.toString('utf8')
  const { at, good } = firstBadByte(bytes)
  const hex = bytes[at].toString(16).padStart(2, '0')
  throw new DataError('data.encoding',
    `${file}:${number}:${good + 1}: byte 0x${hex} at offset ${offset + at} is not UTF-8; save the file as UTF-8, or convert it from its own encoding with iconv`,
    { file, line: number, column: good + 1, offset: offset + at, byte: bytes[at] })
}

/** Place of the first byte that is not part of a whole character, and how many characters stand before it. */
function firstBadByte(bytes: Buffer): { at: number; good: number } {
  // The longest valid prefix is found by halving; a cut inside a character costs at most three bytes.
  let low = 0
  let high = bytes.length
  const validUpTo = (end: number): number | null => {
    for (let cut = end; cut >= Math.max(0, end - 3); cut--) if (isUtf8(bytes.subarray(0, cut))) return cut
    return null
  }
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (validUpTo(middle) !== null && (validUpTo(middle)! >= middle - 3)) low = middle
    else high = middle - 1
  }
  const at = validUpTo(low) ?? 0
  return { at, good: [...bytes.toString('utf8', 0, at)].length }
}

function parseRow(source: Source, bytes: number, stats: ReadStats): DataRow {
  let value: unknown
  try {
    value = JSON.parse(source.text)
  } catch (cause) {
    throw syntaxError(source, cause)
  }
  if (Array.isArray(value) && source.first) throw arrayError(source)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw fieldError(source, 0, `expected an object {"src": …, "tgt": …}, got ${describe(value)}`, 'write one object a line')
  }
  const record = value as Record<string, unknown>
  refuseTwice(source)
  const src = strings(source, record, 'src')
  const tgt = strings(source, record, 'tgt')
  if (src.length !== tgt.length) {
    throw fieldError(source, placeOf(source, 'tgt').valueAt,
      `src has ${count(src.length, 'round')}, tgt has ${tgt.length}`, 'give as many answers as questions', { src: src.length, tgt: tgt.length })
  }
  for (const name in record) if (name !== 'src' && name !== 'tgt') stats.ignoredFields.set(name, (stats.ignoredFields.get(name) ?? 0) + 1)
  return { src, tgt, file: source.file, line: source.line, bytes }
}

/** A string counts as a list of one. */
function strings(source: Source, record: Record<string, unknown>, name: 'src' | 'tgt'): string[] {
  if (!Object.prototype.hasOwnProperty.call(record, name)) throw missingField(source, record, name)
  const value = record[name]
  if (typeof value === 'string') {
    if (/\p{Surrogate}/u.test(value)) throw surrogateError(source, placeOf(source, name).valueAt, name)
    return [value]
  }
  if (!Array.isArray(value)) {
    throw fieldError(source, placeOf(source, name).valueAt, `expected a string (or a list of strings) for ${name}, got ${describe(value)}`, remedyFor(value), { field: name })
  }
  if (value.length === 0) throw fieldError(source, placeOf(source, name).valueAt, `expected at least one round in ${name}, got an empty list`, 'give the rounds, or take the line out', { field: name })
  value.forEach((item, i) => {
    const at = (): number => placeOf(source, name).items[i]
    if (typeof item !== 'string') throw fieldError(source, at(), `expected a string for ${name}[${i}], got ${describe(item)}`, remedyFor(item), { field: `${name}[${i}]` })
    if (/\p{Surrogate}/u.test(item)) throw surrogateError(source, at(), `${name}[${i}]`)
  })
  return value as string[]
}

function remedyFor(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return `put it in double quotes: "${value}"`
  if (value === null) return 'write "" for an empty text, or take the line out'
  return 'write it as text in double quotes'
}

function missingField(source: Source, record: Record<string, unknown>, name: string): DataError {
  const names = Object.keys(record)
  const other = Object.entries(otherNames).find(([src, tgt]) => names.includes(src) && names.includes(tgt))
  const remedy = other
    ? `rename ${other[0]} to src and ${other[1]} to tgt: jq -c '{src: .${other[0]}, tgt: .${other[1]}}' ${source.file} > renamed.json`
    : names.includes('messages') || names.includes('conversations')
      ? 'put the user\'s messages into a list src and the answers into a list tgt'
      : `add it: {"src": "question", "tgt": "answer"}`
  const seen = names.length ? `the line has ${names.slice(0, 8).map(n => JSON.stringify(n)).join(', ')}` : 'the object is empty'
  return fieldError(source, scanJson(source.text).start, `has no field "${name}" (${seen})`, remedy, { field: name, fields: names })
}

/** JSON.parse keeps the last of two equal names, which would drop data in silence. */
function refuseTwice(source: Source): void {
  for (const name of ['src', 'tgt']) {
    const quoted = `"${name}"`
    if (source.text.indexOf(quoted) === source.text.lastIndexOf(quoted)) continue
    const [, second] = scanJson(source.text).members.filter(m => m.name === name)
    if (second) throw fieldError(source, second.nameAt, `has the field "${name}" twice`, 'keep one of them', { field: name })
  }
}

function placeOf(source: Source, name: string): JsonScan['members'][number] {
  return scanJson(source.text).members.find(m => m.name === name)!
}

function syntaxError(source: Source, cause: unknown): DataError {
  const text = source.text.trimStart()
  if (source.first && text.startsWith('[')) return arrayError(source)
  const { fault } = scanJson(source.text)
  if (source.first && text.startsWith('{') && fault?.end) {
    return new DataError('data.format',
      `${source.file}: looks like pretty-printed JSON, expected one whole object a line; convert it: jq -c . ${source.file} > lines.json`, { file: source.file, line: source.line })
  }
  const at = fault?.at ?? 0
  const { place, details } = placed(source, at)
  return new DataError('data.json', `${place}: ${fault?.seen ?? (cause as Error).message}; correct this line (one JSON object a line)`, details, { cause })
}

function arrayError(source: Source): DataError {
  return new DataError('data.format',
    `${source.file}: is one JSON array, expected one object a line; convert it: jq -c '.[]' ${source.file} > lines.json`, { file: source.file, line: source.line })
}

function surrogateError(source: Source, at: number, field: string): DataError {
  return fieldError(source, at, `${field} has half of a character (a lone surrogate such as \\ud83d)`, 'write the whole character; a text was probably cut in the middle of an emoji', { field })
}

function fieldError(source: Source, at: number, seen: string, remedy: string, extra: Record<string, unknown> = {}): DataError {
  const { place, details } = placed(source, at)
  return new DataError('data.field', `${place}: ${seen}; ${remedy}`, { ...details, ...extra })
}

/** Columns count characters from 1. */
function placed({ file, line, text }: Source, at: number): { place: string; details: Record<string, unknown> } {
  const column = [...text.slice(0, at)].length + 1
  return { place: `${file}:${line}:${column}`, details: { file, line, column } }
}

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'an object'
  return `the ${typeof value} ${JSON.stringify(value).slice(0, 40)}`
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
