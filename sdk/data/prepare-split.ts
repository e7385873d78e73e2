import * as fs from 'node:fs'
import { DataError } from '../errors'
import type { DataPlan } from '../plan/plan'
import type { Tokenizer } from '../tokenizers'
import { CacheEntry } from './cache'
import type { DataNote, PreparedSplit } from './dataset'
import { rowEncoder, templateText } from './encode'
import { hashSources } from './source-hash'

/** How far a split is. `bytes` of `totalBytes` of the source; `reused`: it was prepared before. */
export interface SplitProgress {
  readonly state: 'hashing' | 'tokenizing' | 'done' | 'reused'
  readonly bytes: number
  readonly totalBytes: number
  readonly rows: number
}

export interface SplitJob {
  readonly files: readonly string[]
  readonly tokenizer: Tokenizer
  /** Where each thread loads the tokenizer from. */
  readonly modelPath: string
  readonly data: DataPlan
  readonly cache: string
  /** Cores that it may use; undefined: all. */
  readonly cores?: number | undefined
  /** Threads that tokenise; undefined: as many as cores, text and memory allow. */
  readonly threads?: number | undefined
  readonly onProgress?: (progress: SplitProgress) => void
}

/** Tokenises the files of a split into an Arrow file of the cache, or finds that it stands there already. */
export async function prepareSplit(job: SplitJob): Promise<PreparedSplit> {
  const { files, tokenizer, data, cache, onProgress = () => undefined } = job
  const totalBytes = files.reduce((sum, file) => sum + sizeOf(file), 0)
  const encoder = rowEncoder(tokenizer, data)
  const decides = [tokenizer.fingerprint, encoder.kind, templateText(tokenizer, data), data.srcLength, data.maxLength, data.system]
  let hashed = 0
  const sources = await hashSources(cache, files, decides, { onBytes: bytes => onProgress({ state: 'hashing', bytes: hashed += bytes, totalBytes, rows: 0 }) })
  const entry = new CacheEntry(cache, sources.hash)
  const found = entry.read(files)
  if (found) {
    sources.remember()
    onProgress({ state: 'reused', bytes: totalBytes, totalBytes, rows: found.rows })
    return found
  }
  // Loaded only here: a start from the cache needs nothing that writes.
  const { writeRows } = require('./write-rows') as typeof import('./write-rows')
  const made = await entry.create(files, async file => {
    const tally = await writeRows(file, job, totalBytes)
    onProgress({ state: 'done', bytes: totalBytes, totalBytes, rows: tally.rows })
    return { ...tally.result(), template: encoder.kind, notes: [...tally.notes(data), ...unusedSystem(data, encoder.kind)] }
  })
  sources.remember()
  return made
}

function sizeOf(file: string): number {
  const stat = fs.statSync(file, { throwIfNoEntry: false })
  if (!stat?.isFile()) throw new DataError('data.not-found', `${file}: is not a file; check the path`, { file })
  return stat.size
}

function unusedSystem({ system }: DataPlan, kind: PreparedSplit['template']): DataNote[] {
  return system !== null && kind === 'plain' ? [{ code: 'data.no-system', message: 'the system message is not used: the plain template has no place for one' }] : []
}
