import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { DataError } from '../errors'
import { checkoutRoot, fettleHome } from '../models/hub/places'
import type { PreparedSplit } from './dataset'

/** Counts up when prepared files of an earlier Fettle can no longer be read or would hold other ids. */
export const formatVersion = 2

const rowsName = 'rows.arrow', splitName = 'split.json'

/** Where prepared data is kept: FETTLE_HOME/cache/data, else `.fettle/cache/data` of the checkout, else ~/.cache/fettle/cache/data. */
export function dataCache(): string {
  const root = process.env.FETTLE_HOME ? undefined : checkoutRoot()
  return path.join(root ? path.join(root, '.fettle') : fettleHome(), 'cache', 'data')
}

/** Hash over the bytes of all sources and everything else that decides a split's rows. */
export function splitHash(files: readonly string[], decides: readonly unknown[], onBytes: (bytes: number) => void = () => undefined): string {
  const hash = createHash('sha256').update(JSON.stringify([formatVersion, ...decides]))
  const chunk = Buffer.allocUnsafe(1 << 20)
  for (const file of files) {
    const fd = fs.openSync(file, 'r')
    try {
      // The length keeps apart files whose contents only join to the same bytes.
      hash.update(`\0${fs.fstatSync(fd).size}\0`)
      for (let got = fs.readSync(fd, chunk); got > 0; got = fs.readSync(fd, chunk)) {
        hash.update(chunk.subarray(0, got))
        onBytes(got)
      }
    } finally {
      fs.closeSync(fd)
    }
  }
  return hash.digest('hex')
}

type Stored = Omit<PreparedSplit, 'file' | 'sources'> & { readonly bytes: number }

/** One prepared split of the cache, by its hash. */
export class CacheEntry {
  private readonly folder: string

  constructor(private readonly cache: string, private readonly hash: string) {
    this.folder = path.join(cache, hash.slice(0, 32))
  }

  /** The split, if it stands here complete. */
  read(sources: readonly string[]): PreparedSplit | null {
    try {
      const { bytes, ...stored } = JSON.parse(fs.readFileSync(path.join(this.folder, splitName), 'utf8')) as Stored
      const file = path.join(this.folder, rowsName)
      return stored.hash === this.hash && fs.statSync(file).size === bytes ? { ...stored, file, sources } : null
    } catch {
      // Whatever is wrong with it, it is made anew.
      return null
    }
  }

  /**
   * Lets `write` fill a file in a folder of its own, and puts that folder in its place in one step: no reader ever sees
   * a half-written split, and a writer that dies leaves nothing that is taken for one.
   */
  async create(sources: readonly string[], write: (file: string) => Promise<Omit<PreparedSplit, 'file' | 'sources' | 'hash'>>): Promise<PreparedSplit> {
    removeOldAttempts(this.cache)
    const attempt = path.join(this.cache, `.attempt-${process.pid}-${randomBytes(6).toString('hex')}`)
    makeFolder(attempt)
    try {
      const file = path.join(attempt, rowsName)
      const made = { ...await write(file), hash: this.hash }
      const stored: Stored = { ...made, bytes: fs.statSync(file).size }
      fs.writeFileSync(path.join(attempt, splitName), JSON.stringify(stored), { flush: true })
      // One that another process put here meanwhile is as good; a broken one goes.
      const other = this.read(sources)
      if (other) return other
      fs.rmSync(this.folder, { recursive: true, force: true })
      fs.renameSync(attempt, this.folder)
      return { ...made, file: path.join(this.folder, rowsName), sources }
    } finally {
      fs.rmSync(attempt, { recursive: true, force: true })
    }
  }
}

function makeFolder(folder: string): void {
  try {
    fs.mkdirSync(folder, { recursive: true })
  } catch (cause) {
    throw new DataError('data.cache', `${folder}: cannot be made (${(cause as NodeJS.ErrnoException).code}); set FETTLE_HOME to a folder that may be written`, { folder }, { cause })
  }
}

/** Folders that a killed writer left more than a day ago. */
function removeOldAttempts(cache: string): void {
  for (const name of fs.existsSync(cache) ? fs.readdirSync(cache) : []) {
    const folder = path.join(cache, name)
    const stat = name.startsWith('.attempt-') ? fs.statSync(folder, { throwIfNoEntry: false }) : undefined
    if (stat && Date.now() - stat.mtimeMs > 86_400_000) fs.rmSync(folder, { recursive: true, force: true })
  }
}
