import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatVersion, splitHash } from './cache'

/** Smaller sources are read each time: that takes less than a tenth of a second. Bytes. */
const alwaysRead = 64 << 20

/**
 * A file that was written so shortly ago might be written once more in the same tick of the file system's clock. Clocks of
 * whole seconds are known by their times.
 */
const fineTick = 100, coarseTick = 2000

export interface SourceHash {
  /** SHA-256 of all sources' bytes and what else decides the rows. */
  readonly hash: string
  /** Notes that the files, as they stand there, have this hash; not when they changed since they were read. */
  remember(): void
}

interface HashOptions {
  readonly onBytes?: (bytes: number) => void
  /** Sources of fewer bytes are always read. */
  readonly readBelow?: number
}

/**
 * The hash of a split. Large files whose size, modification and change time, inode and device are those of files that were
 * read before are not read again: writing to a file changes its change time, which no program can set.
 */
export async function hashSources(cache: string, files: readonly string[], decides: readonly unknown[], { onBytes, readBelow = alwaysRead }: HashOptions = {}): Promise<SourceHash> {
  const stats = files.map(file => fs.statSync(file, { bigint: true }))
  if (stats.reduce((sum, { size }) => sum + size, 0n) < BigInt(readBelow)) return { hash: splitHash(files, decides, onBytes), remember: () => undefined }
  const before = keyOf(stats, decides), record = path.join(cache, '.read', before), known = readRecord(record)
  if (known !== null) return { hash: known, remember: () => undefined }
  await settled(stats)
  const hash = splitHash(files, decides, onBytes)
  return {
    hash,
    remember() {
      const now = files.map(file => fs.statSync(file, { bigint: true, throwIfNoEntry: false }))
      if (now.every(stat => stat !== undefined) && keyOf(now as fs.BigIntStats[], decides) === before) writeRecord(record, hash)
    }
  }
}

function keyOf(stats: readonly fs.BigIntStats[], decides: readonly unknown[]): string {
  const places = stats.map(({ dev, ino, size, mtimeNs, ctimeNs }) => [dev, ino, size, mtimeNs, ctimeNs].map(String))
  return createHash('sha256').update(JSON.stringify([formatVersion, places, decides])).digest('hex')
}

/** Waits until nothing that is written from now on could bear the times that the files have. */
async function settled(stats: readonly fs.BigIntStats[]): Promise<void> {
  const ends = stats.map(({ ctimeNs }) => Number(ctimeNs / 1_000_000n) + (ctimeNs % 1_000_000_000n === 0n ? coarseTick : fineTick))
  const left = Math.max(...ends) - Date.now()
  // A clock that runs ahead, of another machine, is not waited for beyond that.
  if (left > 0) await sleep(Math.min(left, coarseTick))
}

function readRecord(file: string): string | null {
  const text = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : ''
  return /^[0-9a-f]{64}$/.test(text) ? text : null
}

function writeRecord(file: string, hash: string): void {
  const folder = path.dirname(file)
  fs.mkdirSync(folder, { recursive: true })
  removeOld(folder, path.dirname(folder))
  fs.writeFileSync(`${file}.${process.pid}`, hash)
  fs.renameSync(`${file}.${process.pid}`, file)
}

/** Records of splits that the cache no longer has. */
function removeOld(folder: string, cache: string): void {
  for (const name of fs.readdirSync(folder)) {
    const hash = readRecord(path.join(folder, name))
    if (hash !== null && !fs.existsSync(path.join(cache, hash.slice(0, 32)))) fs.rmSync(path.join(folder, name), { force: true })
  }
}
