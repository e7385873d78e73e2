import * as fs from 'node:fs'
import { constants } from 'node:buffer'
import { tableFromIPC, type Data, type Int32, type List, type RecordBatch } from 'apache-arrow'
import { DataError } from '../errors'
import type { PreparedSplit, Row, RowReader } from './dataset'

interface Batch {
  readonly first: number
  readonly offsets: Int32Array
  readonly ids: Int32Array
  readonly labels: Int32Array
  readonly supervised: Int32Array
}

/**
 * Opens prepared rows. Each rank reads the rows that it needs by number; rows are views over the file's content.
 * @throws DataError `data.prepared` when the file is not what the split says
 */
export function openRows(split: PreparedSplit): RowReader {
  const batches = readBatches(split)
  const rows = batches.reduce((sum, b) => sum + b.supervised.length, 0)
  if (rows !== split.rows) throw broken(split, `has ${rows} rows, expected ${split.rows}`)
  const find = (index: number): Batch => {
    if (!(index >= 0 && index < rows)) throw new DataError('data.row', `expected a row from 0 to ${rows - 1}, got ${index}`, { index, rows })
    let low = 0
    for (let high = batches.length - 1; low < high;) {
      const middle = (low + high + 1) >> 1
      if (batches[middle].first <= index) low = middle
      else high = middle - 1
    }
    return batches[low]
  }
  return {
    split, rows,
    row(index): Row {
      const { first, offsets, ids, labels } = find(index)
      const [from, to] = [offsets[index - first], offsets[index - first + 1]]
      return { inputIds: ids.subarray(from, to), labels: labels.subarray(from, to) }
    },
    length(index) {
      const { first, offsets } = find(index)
      return offsets[index - first + 1] - offsets[index - first]
    },
    supervised(index) {
      const { first, supervised } = find(index)
      return supervised[index - first]
    }
  }
}

function readBatches(split: PreparedSplit): Batch[] {
  let batches: readonly RecordBatch[]
  try {
    batches = tableFromIPC(readWhole(split)).batches
  } catch (cause) {
    if (cause instanceof DataError) throw cause
    throw broken(split, `cannot be read (${(cause as Error).message})`, cause)
  }
  let first = 0
  return batches.map(batch => {
    const [ids, labels, , supervised] = batch.data.children as [Data<List<Int32>>, Data<List<Int32>>, Data<Int32>, Data<Int32>]
    const made = { first, offsets: ids.valueOffsets, ids: ids.children[0].values, labels: labels.children[0].values, supervised: supervised.values.subarray(0, supervised.length) }
    first += batch.numRows
    return made
  })
}

/** In pieces, because one read of a file is limited to 2 GiB. */
function readWhole(split: PreparedSplit): Uint8Array {
  const fd = open(split)
  try {
    const size = fs.fstatSync(fd).size
    if (size > constants.MAX_LENGTH) throw broken(split, `has ${size} bytes, more than this Node.js can hold (${constants.MAX_LENGTH}); use Node 22 or newer, or split the data`)
    const bytes = new Uint8Array(size)
    for (let at = 0; at < size;) {
      const got = fs.readSync(fd, bytes, at, Math.min(size - at, 1 << 30), at)
      if (got === 0) throw broken(split, `ended at byte ${at} while it was read`)
      at += got
    }
    return bytes
  } finally {
    fs.closeSync(fd)
  }
}

function open(split: PreparedSplit): number {
  try {
    return fs.openSync(split.file, 'r')
  } catch (cause) {
    throw broken(split, `cannot be opened (${(cause as NodeJS.ErrnoException).code})`, cause)
  }
}

function broken(split: PreparedSplit, seen: string, cause?: unknown): DataError {
  return new DataError('data.prepared', `${split.file}: the prepared data ${seen}; delete it and start again`, { file: split.file, hash: split.hash }, { cause })
}
