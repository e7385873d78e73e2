import { DataError, FettleError } from '../errors'
import type { EncodedRow, RowEncoder } from './encode'
import type { DataRow } from './rows'

/** Text that is encoded at once: enough to keep all cores busy, little enough for memory. */
const batchBytes = 256 << 10, batchRows = 1024

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
    const { error, empty } = await encoder.encode([row]).then(([{ ids }]) => ({ error: null, empty: ids.length === 0 }), (e: FettleError) => ({ error: e, empty: false }))
    if (empty) throw emptyRow(row)
    if (error) throw new DataError(error.code, `${row.file}:${row.line}: ${error.message}`, { ...error.details, file: row.file, line: row.line }, { cause: error })
  }
  throw cause
}

/** A row whose texts give no token. */
export function emptyRow({ file, line }: Pick<DataRow, 'file' | 'line'>): DataError {
  return new DataError('data.field', `${file}:${line}:1: the row has no tokens at all; give it a text, or take the line out`, { file, line, column: 1 })
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
