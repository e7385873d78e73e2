import * as fs from 'node:fs'
import { Footer, type FileBlock } from 'apache-arrow/ipc/metadata/file'
import { Message, type RecordBatch } from 'apache-arrow/ipc/metadata/message'
import { DataError } from '../errors'
import type { PreparedSplit, Row, RowReader } from './dataset'

/** A record batch: how long its rows are, and where in the file their ids and labels stand (bytes). */
interface Batch {
  readonly first: number
  readonly offsets: Int32Array
  readonly supervised: Int32Array
  readonly idsAt: number
  readonly labelsAt: number
}

/** Buffers of a record batch by the columns of `schema`: a list has validity, offsets, validity, values; a number validity, values. */
const offsetsBuffer = 1, idsBuffer = 3, labelsBuffer = 7, supervisedBuffer = 11

const magic = 'ARROW1'

/** Closes the files of readers that are no longer used. */
const unused = new FinalizationRegistry<number>(fd => fs.closeSync(fd))

/**
 * Opens prepared rows. Memory holds 8 bytes a row; ids and labels are read from the file when a row is asked for, so that a
 * data set of any size opens at once and each rank reads the rows that it needs.
 * @throws DataError `data.prepared` when the file is not what the split says
 */
export function openRows(split: PreparedSplit): RowReader {
  const file = new PreparedFile(split), batches = file.batches()
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
      const { first, offsets, idsAt, labelsAt } = find(index)
      const from = offsets[index - first], length = offsets[index - first + 1] - from
      return { inputIds: file.int32(idsAt + 4 * from, length), labels: file.int32(labelsAt + 4 * from, length) }
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

/** An Arrow IPC file, read by place. */
class PreparedFile {
  private readonly fd: number
  private readonly size: number

  constructor(private readonly split: PreparedSplit) {
    this.fd = open(split)
    unused.register(this, this.fd)
    this.size = fs.fstatSync(this.fd).size
  }

  int32(at: number, length: number): Int32Array {
    const values = new Int32Array(length)
    this.read(new Uint8Array(values.buffer), at)
    return values
  }

  batches(): Batch[] {
    try {
      let first = 0
      return this.blocks().map(block => {
        const batch = this.batch(block, first)
        first += batch.supervised.length
        return batch
      })
    } catch (cause) {
      if (cause instanceof DataError) throw cause
      throw broken(this.split, `cannot be read (${(cause as Error).message})`, cause)
    }
  }

  /** The file ends with its footer, the footer's length and the magic word. */
  private blocks(): FileBlock[] {
    const end = this.bytes(this.size - magic.length - 4, magic.length + 4)
    if (end.toString('latin1', 4) !== magic) throw broken(this.split, 'is not whole: its end is missing')
    const length = end.readInt32LE(0)
    return [...Footer.decode(this.bytes(this.size - magic.length - 4 - length, length)).recordBatches()]
  }

  /** A block is its message, behind 4 bytes of mark and 4 of length, and the body that holds its buffers. */
  private batch({ offset, metaDataLength }: FileBlock, first: number): Batch {
    const { length: rows, buffers } = Message.decode(this.bytes(offset + 8, metaDataLength - 8)).header() as RecordBatch
    const at = (buffer: number): number => offset + metaDataLength + buffers[buffer].offset
    return { first, offsets: this.int32(at(offsetsBuffer), rows + 1), supervised: this.int32(at(supervisedBuffer), rows), idsAt: at(idsBuffer), labelsAt: at(labelsBuffer) }
  }

  private bytes(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length)
    this.read(bytes, at)
    return bytes
  }

  private read(bytes: Uint8Array, at: number): void {
    if (at < 0 || at + bytes.length > this.size) throw broken(this.split, `has ${this.size} bytes, fewer than its own table says`)
    for (let done = 0; done < bytes.length;) {
      const got = fs.readSync(this.fd, bytes, done, bytes.length - done, at + done)
      if (got === 0) throw broken(this.split, `ended at byte ${at + done} while it was read`)
      done += got
    }
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
