import * as fs from 'node:fs'
import { DataError, FettleError } from '../errors'
import type { DataPlan } from '../plan/plan'
import type { Tokenizer } from '../tokenizers'
import { ArrowWriter } from './arrow-writer'
import { CacheEntry, splitHash } from './cache'
import type { DataNote, PreparedSplit, Preview } from './dataset'
import { rowEncoder, templateText, type EncodedRow, type RowEncoder } from './encode'
import { countSupervised } from './packing'
import { previewRow, previewsBetter } from './preview'
import { emptyRow, newReadStats, readRows, type DataRow, type ReadStats } from './rows'

/** How far a split is. `bytes` of `totalBytes` of the source; `reused`: it was prepared before. */
export interface SplitProgress {
  readonly state: 'hashing' | 'tokenizing' | 'done' | 'reused'
  readonly bytes: number
  readonly totalBytes: number
  readonly rows: number
}

export interface SplitJob {
  readonly files: readonly string[]
  readonly tokenizer: Tokenizer
  readonly data: DataPlan
  readonly cache: string
  readonly onProgress?: (progress: SplitProgress) => void
}

/** Text that is encoded at once: enough to keep all cores busy, little enough for memory. */
const batchBytes = 256 << 10, batchRows = 1024

/** Tokenises the files of a split into an Arrow file of the cache, or finds that it stands there already. */
export async function prepareSplit({ files, tokenizer, data, cache, onProgress = () => undefined }: SplitJob): Promise<PreparedSplit> {
  const totalBytes = files.reduce((sum, file) => sum + sizeOf(file), 0)
  const encoder = rowEncoder(tokenizer, data)
  const decides = [tokenizer.fingerprint, encoder.kind, templateText(tokenizer, data), data.srcLength, data.maxLength, data.system]
  let hashed = 0
  const hash = splitHash(files, decides, bytes => onProgress({ state: 'hashing', bytes: hashed += bytes, totalBytes, rows: 0 }))
  const entry = new CacheEntry(cache, hash)
  const found = entry.read(files)
  if (found) {
    onProgress({ state: 'reused', bytes: totalBytes, totalBytes, rows: found.rows })
    return found
  }
  return entry.create(files, async file => {
    const writer = new ArrowWriter(file)
    try {
      const tally = new Tally(tokenizer)
      const stats = newReadStats()
      for await (const { rows, encoded } of encodeAll(sequences(readRows(files, stats), encoder), encoder)) {
        for (const [i, row] of encoded.entries()) {
          tally.add(row, rows[i])
          await writer.add(row)
        }
        onProgress({ state: 'tokenizing', bytes: tally.bytes, totalBytes, rows: tally.rows })
      }
      await writer.finish()
      onProgress({ state: 'done', bytes: totalBytes, totalBytes, rows: tally.rows })
      return { ...tally.result(), template: encoder.kind, notes: notesOf(tally, stats, encoder, data) }
    } catch (error) {
      await writer.abort()
      throw error
    }
  })
}

function sizeOf(file: string): number {
  const stat = fs.statSync(file, { throwIfNoEntry: false })
  if (!stat?.isFile()) throw new DataError('data.not-found', `${file}: is not a file; check the path`, { file })
  return stat.size
}

/** Rows as they are trained; a line's bytes are counted once. */
export function* sequences(rows: Iterable<DataRow>, encoder: RowEncoder): Generator<DataRow> {
  for (const row of rows) for (const [i, part] of encoder.split(row).entries()) yield { ...row, ...part, bytes: i === 0 ? row.bytes : 0 }
}

export interface Batch { readonly rows: readonly DataRow[]; readonly encoded: readonly EncodedRow[] }

/** Encodes batch after batch; while the library works on one, the next is read and rendered. */
export async function* encodeAll(rows: Iterable<DataRow>, encoder: RowEncoder): AsyncGenerator<Batch> {
  let running: Promise<Batch> | null = null
  for (const batch of batches(rows)) {
    const next = encoder.encode(batch).then(encoded => ({ rows: batch, encoded }), error => refuseRow(batch, encoder, error))
    // Awaited in the next turn; a failure before that is not unhandled.
    next.catch(() => undefined)
    if (running) yield await running
    running = next
  }
  if (running) yield await running
}

/** A chat that the template cannot take is an error of its row: the row is found by encoding one after the other. */
async function refuseRow(batch: readonly DataRow[], encoder: RowEncoder, cause: unknown): Promise<never> {
  if (!(cause instanceof FettleError) || (cause.code !== 'data.template' && cause.code !== 'tokenizer.chat-template')) throw cause
  for (const row of batch) {
    const error = await encoder.encode([row]).then(() => null, (e: FettleError) => e)
    if (error) throw new DataError(error.code, `${row.file}:${row.line}: ${error.message}`, { ...error.details, file: row.file, line: row.line }, { cause: error })
  }
  throw cause
}

function* batches(rows: Iterable<DataRow>): Generator<DataRow[]> {
  let batch: DataRow[] = []
  let bytes = 0
  for (const row of rows) {
    batch.push(row)
    bytes += row.bytes
    if (bytes >= batchBytes || batch.length >= batchRows) {
      yield batch
      batch = []
      bytes = 0
    }
  }
  if (batch.length > 0) yield batch
}

/** Counts what the rows hold. */
class Tally {
  rows = 0
  bytes = 0
  truncated = 0
  /** Rows without a token to learn from, and where the first stands. */
  unanswered = 0
  firstUnanswered = ''
  private tokens = 0
  private supervised = 0
  private longest = 0
  private shown: EncodedRow | null = null

  constructor(private readonly tokenizer: Tokenizer) {}

  add(row: EncodedRow, { file, line, bytes }: DataRow): void {
    if (row.ids.length === 0) throw emptyRow({ file, line })
    const supervised = countSupervised(row.labels)
    if (supervised === 0 && this.unanswered++ === 0) this.firstUnanswered = `${file}:${line}`
    if (row.truncated) this.truncated++
    this.rows++
    this.bytes += bytes
    this.tokens += row.ids.length
    this.supervised += supervised
    this.longest = Math.max(this.longest, row.ids.length)
    if (previewsBetter(row, this.shown)) this.shown = row
  }

  result(): { rows: number; tokens: number; supervised: number; truncated: number; longest: number; preview: Preview } {
    const { rows, tokens, supervised, truncated, longest } = this
    return { rows, tokens, supervised, truncated, longest, preview: previewRow(this.tokenizer, this.shown!) }
  }
}

function notesOf(tally: Tally, stats: ReadStats, encoder: RowEncoder, { srcLength, maxLength, system }: DataPlan): DataNote[] {
  const notes: DataNote[] = []
  const note = (code: DataNote['code'], message: string): void => { notes.push({ code, message }) }
  if (stats.ignoredFields.size > 0) {
    const fields = [...stats.ignoredFields].map(([name, rows]) => `${JSON.stringify(name)} (${rows} rows)`).join(', ')
    note('data.ignored-fields', `fields beside src and tgt are not used: ${fields}`)
  }
  if (stats.blankLines > 0) note('data.blank-lines', `blank lines between rows: ${stats.blankLines}, the first at ${stats.firstBlank}`)
  if (tally.truncated > 0) note('data.truncated', `${tally.truncated} of ${tally.rows} rows were cut to srcLength ${srcLength} and maxLength ${maxLength}`)
  if (tally.unanswered > 0) {
    note('data.no-answer-left', `rows without a token to learn from: ${tally.unanswered}, the first at ${tally.firstUnanswered}; raise maxLength or lower srcLength`)
  }
  for (const message of encoder.notes()) note('data.no-end-of-turn', message)
  if (system !== null && encoder.kind === 'plain') note('data.no-system', 'the system message is not used: the plain template has no place for one')
  return notes
}
