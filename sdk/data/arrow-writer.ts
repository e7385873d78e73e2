import { once } from 'node:events'
import * as fs from 'node:fs'
import { RecordBatchFileWriter } from 'apache-arrow'
import { recordBatch, type RowColumns } from './arrow'
import { withRoom } from './room'

/** A record batch is written when it holds this many tokens or rows: large enough to read fast, small enough for memory. */
const batchTokens = 1 << 20, batchRows = 1 << 14

/** Bytes that may wait for the disk before the next batch waits. */
const waitingBytes = 64 << 20

/** Streams encoded rows into an Arrow IPC file with memory for a few record batches. */
export class ArrowWriter {
  private readonly writer = new RecordBatchFileWriter()
  private readonly done: Promise<void>
  private readonly progress = new EventTarget()
  /** Rows of the next record batch, laid end to end. */
  private ids = new Int32Array(1 << 16)
  private labels = new Int32Array(1 << 16)
  private readonly lengths = new Int32Array(batchRows)
  private readonly supervised = new Int32Array(batchRows)
  private rows = 0
  private tokens = 0
  private written = 0
  private waiting = 0

  constructor(file: string) {
    this.done = this.drain(file)
    // Reported by `finish` or `add`, whichever comes first.
    this.done.catch(() => undefined)
  }

  /** Takes rows; where a record batch ends depends on the rows alone, not on how they come together. */
  async add({ ids, labels, lengths, supervised }: RowColumns): Promise<void> {
    let from = 0, first = 0
    while (first < lengths.length) {
      let to = from, row = first
      while (row < lengths.length && !this.isFull(row - first, to - from)) to += lengths[row++]
      this.take({ ids: ids.subarray(from, to), labels: labels.subarray(from, to), lengths: lengths.subarray(first, row), supervised: supervised.subarray(first, row) })
      if (this.isFull(0, 0)) await this.flush()
      from = to
      first = row
    }
  }

  /** Writes the rest and waits until all of it is on the disk. */
  async finish(): Promise<void> {
    if (this.rows > 0) await this.flush()
    this.writer.close()
    await this.done
  }

  /** Gives up; the file stays incomplete. */
  async abort(): Promise<void> {
    this.writer.close()
    await this.done.catch(() => undefined)
  }

  private isFull(moreRows: number, moreTokens: number): boolean {
    return this.tokens + moreTokens >= batchTokens || this.rows + moreRows >= batchRows
  }

  private take({ ids, labels, lengths, supervised }: RowColumns): void {
    const { tokens, rows } = this
    this.ids = withRoom(this.ids, tokens, ids.length, Int32Array)
    this.labels = withRoom(this.labels, tokens, labels.length, Int32Array)
    this.ids.set(ids, tokens)
    this.labels.set(labels, tokens)
    this.lengths.set(lengths, rows)
    this.supervised.set(supervised, rows)
    this.tokens += ids.length
    this.rows += lengths.length
  }

  private async flush(): Promise<void> {
    const { rows, tokens } = this
    // Copies, because they wait for the disk while the next rows come.
    const columns = { ids: this.ids.slice(0, tokens), labels: this.labels.slice(0, tokens), lengths: this.lengths.slice(0, rows), supervised: this.supervised.slice(0, rows) }
    this.writer.write(recordBatch(columns, this.written))
    this.written += rows
    this.waiting += 8 * tokens
    this.rows = this.tokens = 0
    while (this.waiting > waitingBytes) await Promise.race([once(this.progress, 'wrote'), this.done])
  }

  private async drain(file: string): Promise<void> {
    const handle = await fs.promises.open(file, 'wx')
    try {
      for await (const chunk of this.writer) {
        await handle.writeFile(chunk)
        this.waiting = Math.max(0, this.waiting - chunk.length)
        this.progress.dispatchEvent(new Event('wrote'))
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
}
