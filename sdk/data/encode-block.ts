import { emptyRow, encodeAll, sequences } from './batches'
import type { Block } from './blocks'
import type { EncodedRow, RowEncoder } from './encode'
import { linesOf } from './lines'
import { countSupervised } from './packing'
import { previewsBetter } from './preview'
import { newReadStats, parseLine, type DataRow } from './rows'

/** The rows of a block laid end to end, and what there is to tell of them. */
export interface EncodedBlock {
  readonly bytes: number
  readonly ids: Int32Array
  readonly labels: Int32Array
  /** Tokens of each row. */
  readonly lengths: Int32Array
  /** Of each row, labels that a token before them predicts. */
  readonly supervised: Int32Array
  readonly truncated: number
  /** Line of the first row without a token to learn from, and their number. */
  readonly unanswered: { readonly rows: number; readonly line: number }
  readonly ignoredFields: readonly (readonly [string, number])[]
  /** Blank lines before the last row, and after it. */
  readonly blanks: { readonly inside: BlankRun; readonly after: BlankRun; readonly lastRow: number }
  /** The row that shows best; null: the block has none. */
  readonly shown: Pick<EncodedRow, 'ids' | 'labels'> | null
  readonly notes: readonly string[]
}

export interface BlankRun { readonly count: number; readonly line: number }

/**
 * Parses and encodes the lines of a block.
 * @throws DataError of its first bad row, with file and line
 */
export async function encodeBlock({ file, bytes, line, offset, first }: Block, encoder: RowEncoder): Promise<EncodedBlock> {
  const read = readBlock({ file, bytes, line, offset, first })
  const tally = new Tally()
  for await (const { rows, encoded } of encodeAll(sequences(read.rows, encoder), encoder)) encoded.forEach((row, i) => tally.add(row, rows[i]))
  // Rows before a line that cannot be read come first, and so do their errors.
  if (read.error !== null) throw read.error
  return { bytes: bytes.length, ...tally.columns(), ignoredFields: [...read.ignoredFields], blanks: read.blanks, notes: encoder.notes() }
}

interface ReadBlock extends Pick<EncodedBlock, 'blanks'> {
  readonly rows: readonly DataRow[]
  readonly error: unknown
  readonly ignoredFields: ReadonlyMap<string, number>
}

function readBlock({ file, bytes, line, offset, first }: Block): ReadBlock {
  const rows: DataRow[] = [], stats = newReadStats(), none = { count: 0, line: 0 }
  let inside: BlankRun = none, after: BlankRun = none, lastRow = 0, error: unknown = null
  try {
    for (const each of linesOf(bytes, line, offset)) {
      const row = parseLine(file, each, first && rows.length === 0, stats)
      if (row === null) {
        after = { count: after.count + 1, line: after.count === 0 ? each.number : after.line }
        continue
      }
      if (after.count > 0) inside = { count: inside.count + after.count, line: inside.count === 0 ? after.line : inside.line }
      after = none
      lastRow = each.number
      rows.push(row)
    }
  } catch (cause) {
    error = cause
  }
  return { rows, error, ignoredFields: stats.ignoredFields, blanks: { inside, after, lastRow } }
}

/** Counts what the rows of a block hold, and joins them. */
class Tally {
  private readonly rows: EncodedRow[] = []
  private readonly supervised: number[] = []
  private truncated = 0
  private unanswered = { rows: 0, line: 0 }
  private shown: EncodedRow | null = null

  add(row: EncodedRow, { file, line }: DataRow): void {
    if (row.ids.length === 0) throw emptyRow({ file, line })
    const supervised = countSupervised(row.labels)
    if (supervised === 0) this.unanswered = { rows: this.unanswered.rows + 1, line: this.unanswered.rows === 0 ? line : this.unanswered.line }
    if (row.truncated) this.truncated++
    if (previewsBetter(row, this.shown)) this.shown = row
    this.rows.push(row)
    this.supervised.push(supervised)
  }

  columns(): Pick<EncodedBlock, 'ids' | 'labels' | 'lengths' | 'supervised' | 'truncated' | 'unanswered' | 'shown'> {
    const lengths = Int32Array.from(this.rows, ({ ids }) => ids.length), tokens = lengths.reduce((sum, length) => sum + length, 0)
    const ids = new Int32Array(tokens), labels = new Int32Array(tokens)
    let at = 0
    for (const row of this.rows) {
      ids.set(row.ids, at)
      labels.set(row.labels, at)
      at += row.ids.length
    }
    const shown = this.shown && { ids: this.shown.ids.slice(), labels: this.shown.labels.slice() }
    return { ids, labels, lengths, supervised: Int32Array.from(this.supervised), truncated: this.truncated, unanswered: this.unanswered, shown }
  }
}
