import * as os from 'node:os'
import * as path from 'node:path'
import { Worker } from 'node:worker_threads'
import { reviveError, WorkerError } from '../errors'
import type { Block } from './blocks'
import { rowEncoder } from './encode'
import { encodeBlock, type EncodedBlock } from './encode-block'
import type { EncodeJob, FromEncoder, ToEncoder } from './encode-worker'
import type { Tokenizer } from '../tokenizers'

/** A thread pays from this much text on: it loads a tokenizer of its own. Bytes. */
const bytesAThread = 8 << 20

/** What a thread takes, with a large vocabulary. Bytes. */
const memoryAThread = 400 << 20

/** Blocks of each thread that are in work or wait for it: one is encoded while the next comes. */
const ahead = 2

/** Threads that encode `bytes` of text: as many as cores, fewer for little text or with little memory free. */
export function encoderThreads(bytes: number, cores = Infinity): number {
  return Math.max(1, Math.min(os.availableParallelism(), cores, Math.floor(bytes / bytesAThread), Math.floor(freeMemory() / 2 / memoryAThread)))
}

/** What this process may still take, under the limits of its container. */
function freeMemory(): number {
  // Node.js has it from 20.13 on.
  const { availableMemory } = process as { availableMemory?: () => number }
  return availableMemory?.() ?? os.freemem()
}

/**
 * Encodes blocks on `threads` threads and gives them in their order, whichever ends first; one thread is this one. Memory
 * holds two blocks a thread.
 * @throws DataError of the first bad row in the order of the blocks, WorkerError `worker.prepare` when a thread died
 */
export async function* encodeBlocks(blocks: Iterable<Block>, job: EncodeJob & { readonly tokenizer: Tokenizer }, threads: number): AsyncGenerator<EncodedBlock> {
  if (threads === 1) {
    const encoder = rowEncoder(job.tokenizer, job.data)
    for (const block of blocks) yield await encodeBlock(block, encoder)
    return
  }
  const pool = Array.from({ length: threads }, () => new EncoderThread({ data: job.data, modelPath: job.modelPath })), waiting: Promise<EncodedBlock>[] = []
  let unread: { readonly cause: unknown } | null = null
  const readable = function* (): Generator<Block> {
    try { yield* blocks } catch (cause) { unread = { cause } }
  }
  try {
    for (const block of readable()) {
      waiting.push(pool.reduce((least, each) => (each.load < least.load ? each : least)).encode(block))
      if (waiting.length >= ahead * threads) yield await waiting.shift()!
    }
    while (waiting.length > 0) yield await waiting.shift()!
    // What cannot be read comes after a bad row before it.
    if (unread !== null) throw (unread as { readonly cause: unknown }).cause
  } finally {
    await Promise.all(pool.map(thread => thread.close()))
  }
}

interface Waiting { readonly resolve: (block: EncodedBlock) => void; readonly reject: (error: unknown) => void }

class EncoderThread {
  private readonly worker: Worker
  private readonly asked: Waiting[] = []
  private failure: unknown = null

  constructor(job: EncodeJob) {
    this.worker = new Worker(path.join(__dirname, 'encode-worker.js'), { workerData: job, execArgv: [] })
    this.worker.on('message', (message: FromEncoder) => {
      const { resolve, reject } = this.asked.shift()!
      if (message.kind === 'encoded') resolve(message.block)
      else reject(reviveError(message.error))
    })
    this.worker.on('error', cause => this.fail(new WorkerError('worker.prepare', `a thread that tokenises ended: ${cause.message}; the machine may be out of memory: free some, or split the longest rows`, {}, { cause })))
    this.worker.on('exit', code => this.fail(new WorkerError('worker.prepare', `a thread that tokenises ended with code ${code}; see stderr, and report it`, { code })))
  }

  /** Blocks that it has not answered yet. */
  get load(): number { return this.asked.length }

  encode({ bytes, ...block }: Block): Promise<EncodedBlock> {
    const encoded = new Promise<EncodedBlock>((resolve, reject) => {
      if (this.failure !== null) return reject(this.failure)
      this.asked.push({ resolve, reject })
      this.worker.postMessage({ ...block, bytes } satisfies ToEncoder, [bytes.buffer as ArrayBuffer])
    })
    // Awaited in its turn; a failure before that is not unhandled.
    encoded.catch(() => undefined)
    return encoded
  }

  async close(): Promise<void> { await this.worker.terminate() }

  private fail(error: unknown): void {
    this.failure ??= error
    for (const { reject } of this.asked.splice(0)) reject(this.failure)
  }
}
