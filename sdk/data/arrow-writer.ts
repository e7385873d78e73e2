import { once } from 'node:events'
import * as fs from 'node:fs'
import { RecordBatchFileWriter } from 'apache-arrow'
import { recordBatch } from './arrow'
import type { EncodedRow } from './encode'

/** A record batch is written when it holds this many tokens or rows: large enough to read fast, small enough for memory. */
const batchTokens = 1 << 20, batchRows = 1 << 14

/** Bytes that may wait for the disk before the next batch waits. */
const waitingBytes = 64 << 20

/** Streams encoded rows into an Arrow IPC file with memory for a few record batches. */
export class ArrowWriter {
  private readonly writer = new RecordBatchFileWriter()
  private readonly done: Promise<void>
  private readonly progress = new EventTarget()
  private rows: EncodedRow[] = []
  private tokens = 0
  private written = 0
  private waiting = 0

  constructor(file: string) {
    this.done = this.drain(file)
    // Reported by `finish` or `add`, whichever comes first.
    this.done.catch(() => undefined)
  }

  async add(row: EncodedRow): Promise<void> {
    this.rows.push(row)
    this.tokens += row.ids.length
    if (this.tokens >= batchTokens || this.rows.length >= batchRows) await this.flush()
  }

  /** Writes the rest and waits until all of it is on the disk. */
  async finish(): Promise<void> {
    if (this.rows.length > 0) await this.flush()
    this.writer.close()
    await this.done
  }

  /** Gives up; the file stays incomplete. */
  async abort(): Promise<void> {
    this.writer.close()
    await this.done.catch(() => undefined)
  }

  private async flush(): Promise<void> {
    this.writer.write(recordBatch(this.rows, this.written))
    this.written += this.rows.length
    this.waiting += 8 * this.tokens
    this.rows = []
    this.tokens = 0
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
