import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { FettleError, reviveError, WorkerError } from '../errors'
import { countOomKills, logTail, ranOutOfMemory } from '../run/death'
import type { ChatReply, FromWorker } from '../run/protocol'
import { WorkerProcess, type Exit } from '../run/worker-process'
import type { ServePlan } from './serve-plan'
import type { Question, Voice } from './voice'

const workerEntry = path.join(__dirname, '..', 'worker.js')

/** Folders of workers' logs. They go with their workers, or with this process. */
const folders = new Set<string>()
process.on('exit', () => { for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true }) })

/** How far the model is read. */
export interface ChatProgress {
  /** What is done now, in words. */
  readonly stage: string
  /** Bytes so far. */
  readonly done: number
  /** Bytes in all; `null` while unknown. */
  readonly total: number | null
}

/** A worker of the chat's own, which reads a model and answers. It starts at `open()` and ends at `close()`. */
export class ServedVoice implements Voice {
  private worker: WorkerProcess | null = null
  private opening: Promise<void> | null = null
  private settle: { resolve(): void; reject(error: FettleError): void } | null = null
  private lost: (error: FettleError) => void = () => undefined
  private error: FettleError | null = null
  private folder = ''
  private closing = false
  private exited: () => void = () => undefined
  private readonly exit = new Promise<void>((resolve) => { this.exited = resolve })
  private readonly oomBefore = countOomKills()

  constructor(private readonly serve: ServePlan, private readonly onProgress?: (progress: ChatProgress) => void) {}

  get alive(): boolean { return !this.closing && this.error === null }

  open(): Promise<void> { return (this.opening ??= this.start()) }

  async ask(question: Question, onText: (text: string) => void, signal: AbortSignal): Promise<ChatReply> {
    await this.open()
    try {
      return await this.worker!.request({ name: 'chat', ...question }, (_, text) => onText(text), signal)
    } catch (error) {
      throw this.error ?? error
    }
  }

  onLost(listener: (error: FettleError) => void): void { this.lost = listener }

  async close(): Promise<void> {
    if (this.closing) return this.worker === null ? undefined : this.exit
    this.closing = true
    if (this.worker === null) return
    if (this.worker.exited === null) {
      const { worker } = this
      const forced = setTimeout(() => worker.kill(), 10_000)
      // One that still reads its model cannot answer: it holds nothing worth waiting for.
      if (this.settle !== null) worker.kill()
      else await worker.request({ name: 'close' }).catch(() => { /* It may end before it answers. */ })
      await this.exit
      clearTimeout(forced)
    }
  }

  private start(): Promise<void> {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-chat-'))
    folders.add(this.folder)
    return new Promise((resolve, reject) => {
      this.settle = { resolve, reject }
      this.worker = new WorkerProcess({ kind: 'serve', serve: this.serve }, this.folder, workerEntry, {
        onMessage: (message) => this.receive(message), onExit: (exit) => this.onExit(exit),
      })
    })
  }

  private receive(message: FromWorker): void {
    if (message.kind === 'progress') this.onProgress?.({ stage: message.stage, done: message.done, total: message.total })
    if (message.kind === 'event' && message.event.type === 'failed') this.fail(reviveError(message.event.error))
    if (message.kind !== 'served') return
    this.settle?.resolve()
    this.settle = null
    this.worker!.idle()
  }

  private onExit(exit: Exit): void {
    if (!this.closing) this.fail(this.death(exit))
    else this.fail(new WorkerError('chat.closed', 'the chat was closed; start another with chat(target)', {}))
    fs.rmSync(this.folder, { recursive: true, force: true })
    folders.delete(this.folder)
    this.exited()
  }

  private fail(error: FettleError): void {
    if (this.error !== null) return
    this.error = error
    const { settle } = this
    this.settle = null
    if (settle !== null) settle.reject(error)
    else if (!this.closing) this.lost(error)
  }

  private death({ code, signal }: Exit): WorkerError {
    const { pid, log } = this.worker!
    const cause = ranOutOfMemory(this.oomBefore) ? 'the machine ran out of memory' : signal !== null ? 'something outside ended it, or a memory guard that leaves no count' : 'an error that it could not report'
    const remedy = "start the chat again; if memory was short, try { precision: 'bf16' } or { sides: ['tuned'] }"
    return new WorkerError('chat.worker', `the worker that answers for ${this.serve.model} (process ${pid}) ${signal === null ? `exited with code ${code}` : `was killed by ${signal}`}; likely cause: ${cause}; ${remedy}${logTail(log)}`,
      { pid, exitCode: code, signal, cause, remedy, model: this.serve.model })
  }
}
