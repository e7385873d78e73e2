import { fork, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { reviveError, WorkerError } from '../errors'
import type { FromStream, StreamedRow, StreamJob, ToStream } from './stream-protocol'

/** Batches that are tokenised ahead of training: one to take from, one that follows, one in work. */
const ahead = 3

/**
 * Rows of files of any size, without end, epoch after epoch, in the order of a shuffle buffer. A process of its own reads
 * and tokenises a few batches ahead and waits until they are taken.
 */
export class RowStream {
  private child: ChildProcess | null = null
  private batches: (readonly StreamedRow[])[] = []
  /** Rows of the first batch that were taken. */
  private taken = 0
  private failure: unknown = null
  private wake: () => void = () => undefined

  constructor(private readonly job: StreamJob) {}

  /** The next row. @throws DataError of a bad row, with file and line, once all rows before its batch were taken; WorkerError `worker.prepare` */
  async next(): Promise<StreamedRow> {
    this.child ??= this.start()
    while (this.batches.length === 0) {
      if (this.failure !== null) throw this.failure
      await new Promise<void>((resolve) => { this.wake = resolve })
    }
    const [batch] = this.batches, row = batch[this.taken++]
    if (this.taken === batch.length) {
      this.batches.shift()
      this.taken = 0
      // Each batch that is used up makes room for one more: that is all that bounds what is read ahead.
      if (this.failure === null) this.say(this.child, { kind: 'more' })
    }
    return row
  }

  close(): void {
    this.failure ??= new WorkerError('worker.prepare', 'the stream of rows was closed; start the run again', {})
    this.child?.kill('SIGKILL')
    this.wake()
  }

  private start(): ChildProcess {
    const child = fork(path.join(__dirname, 'stream-worker.js'), [], { execArgv: [], serialization: 'advanced', stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    child.on('message', (message: FromStream) => {
      if (message.kind === 'failed') return this.fail(reviveError(message.error))
      this.batches.push(message.rows)
      this.wake()
    })
    child.on('error', (error) => this.fail(error))
    child.on('close', (code, signal) => this.fail(new WorkerError('worker.prepare', `the process that reads the stream ended (${signal ?? `code ${code}`}); the machine may be out of memory: free some, or take a smaller shuffleBuffer`, { code, signal })))
    this.say(child, { kind: 'start', job: this.job })
    for (let i = 0; i < ahead; i++) this.say(child, { kind: 'more' })
    return child
  }

  private say(child: ChildProcess, message: ToStream): void { child.send(message, (error) => { if (error) this.fail(error) }) }

  private fail(error: unknown): void {
    this.failure ??= error
    this.wake()
  }
}

/** What tells one stream from another: names, sizes and both ends of the files, and what decides their rows. The middle is not read. */
export function streamHash(files: readonly string[], decides: readonly unknown[]): string {
  const hash = createHash('sha256').update(JSON.stringify(['stream', ...decides])), piece = Buffer.alloc(1 << 20)
  for (const file of files) {
    const fd = fs.openSync(file, 'r')
    try {
      const { size } = fs.fstatSync(fd)
      hash.update(`\0${size}\0`)
      for (const from of [0, Math.max(0, size - piece.length)]) hash.update(piece.subarray(0, fs.readSync(fd, piece, 0, piece.length, from)))
    } finally {
      fs.closeSync(fd)
    }
  }
  return hash.digest('hex')
}
