import { fork, type ChildProcess, type ForkOptions } from 'node:child_process'
import * as path from 'node:path'
import { reviveError, WorkerError, type FettleError } from '../errors'
import type { DataPlan } from '../plan/plan'
import { dataCache } from './cache'
import type { PreparedData } from './dataset'
import { discoverData, requireSplit, type SplitName } from './discover'
import type { FromPrepare, PrepareJob, PrepareProgress } from './prepare-protocol'

export interface PrepareOptions {
  /** Splits that must be there. Default: train. Others are prepared when they are found, but for test. */
  readonly require?: readonly SplitName[]
  /** Splits that are left alone even when they are found. */
  readonly skip?: readonly ('train' | 'dev')[]
  readonly onProgress?: (progress: PrepareProgress) => void
  /** Folder of prepared data; by default Fettle's cache. */
  readonly cache?: string
  /** Cores that it may use. Default: all. */
  readonly cores?: number
  /** Threads that tokenise; by default as many as cores, text and free memory allow. What is prepared does not depend on it. */
  readonly threads?: number
  /** How its process is started, where the caller's own cores are not all that it may use. */
  readonly start?: Pick<ForkOptions, 'execPath' | 'execArgv'>
  /** Ends the preparation; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

/**
 * Tokenises a data set for a model in a process of its own, so that the caller stays responsive. What was prepared
 * before from the same bytes, tokenizer and settings is reused.
 * @throws DataError for the data, ModelError for the tokenizer, WorkerError `worker.prepare` when the process died
 */
export async function prepare(data: DataPlan, modelPath: string, options: PrepareOptions = {}): Promise<PreparedData> {
  if (data.path === null) return { train: null, dev: null, test: null }
  const { require: required = ['train'], skip = [], cache = dataCache(), threads, cores } = options
  const files = discoverData(data.path)
  for (const split of required) requireSplit(data.path, files, split)
  const splits = (['train', 'dev', 'test'] as const).filter(split => (split === 'test' ? required.includes(split) : !skip.includes(split)))
    .flatMap(split => files[split] ? [{ split, files: files[split]! }] : [])
  return runJob({ data, modelPath, splits, cache, threads, cores }, options)
}

function runJob(job: PrepareJob, { onProgress, signal, start }: PrepareOptions): Promise<PreparedData> {
  if (signal?.aborted) return Promise.reject(signal.reason)
  // Without the parent's flags: a debugger's port or a loader of the notebook is not for this process.
  const child = fork(path.join(__dirname, 'prepare-worker.js'), [], { execArgv: [], ...start, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  return new Promise((resolve, reject) => {
    let outcome: { result: PreparedData } | { error: unknown } | null = null
    const stop = (): void => {
      outcome ??= { error: signal!.reason }
      child.kill('SIGKILL')
    }
    signal?.addEventListener('abort', stop, { once: true })
    const tail = keepTail(child)
    child.on('message', (message: FromPrepare) => {
      if (message.kind === 'progress') onProgress?.(message.progress)
      else outcome ??= message.kind === 'done' ? { result: message.result } : { error: reviveError(message.error) }
    })
    child.on('error', error => { outcome ??= { error } })
    child.on('close', (code, killedBy) => {
      signal?.removeEventListener('abort', stop)
      const final = outcome ?? { error: died(code, killedBy, tail()) }
      if ('result' in final) resolve(final.result)
      else reject(final.error)
    })
    child.send(job, error => { if (error) outcome ??= { error } })
  })
}

/** The end of what the process wrote to stderr. */
function keepTail(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.setEncoding('utf8').on('data', (piece: string) => { text = (text + piece).slice(-4000) })
  return () => text.trim()
}

function died(code: number | null, killedBy: NodeJS.Signals | null, stderr: string): FettleError {
  const how = killedBy ? `was killed by ${killedBy}` : `ended with code ${code}`
  const remedy = killedBy === 'SIGKILL' ? 'the machine was probably out of memory: free some, or split the longest rows' : 'see stderr in its details, and report it'
  return new WorkerError('worker.prepare', `the process that prepares the data ${how}; ${remedy}`, { code, signal: killedBy, stderr })
}
