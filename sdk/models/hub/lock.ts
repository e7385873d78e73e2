import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive } from '../../process'

const heartbeatMs = 15_000
/** A lock of another machine is given up for dead after this long without a heartbeat. */
const staleMs = 120_000

/**
 * Runs `work` while no other process holds the lock file `path`. A lock whose process is gone is taken over, so a
 * killed download never blocks the next.
 * @param onWait called once when somebody else has the lock
 */
export async function withLock<T>(path: string, work: () => Promise<T>, onWait?: () => void): Promise<T> {
  mkdirSync(dirname(path), { recursive: true })
  const mark = JSON.stringify({ host: hostname(), pid: process.pid, id: Math.random() })
  for (let waited = false; !take(path, mark); waited = true) {
    if (!waited) onWait?.()
    if (!dropStale(path)) await sleep(200)
  }
  const beat = setInterval(() => touch(path), heartbeatMs)
  beat.unref()
  try {
    return await work()
  } finally {
    clearInterval(beat)
    if (read(path) === mark) rmSync(path, { force: true })
  }
}

function take(path: string, mark: string): boolean {
  try {
    writeFileSync(path, mark, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Removes the lock of a process that is gone; true when there is reason to try again at once. */
function dropStale(path: string): boolean {
  const mark = read(path)
  if (mark === undefined) return true
  if (!isStale(path, mark)) return false
  const aside = `${path}.${process.pid}`
  try {
    renameSync(path, aside)
  } catch {
    return true // Another process was faster.
  }
  // Between reading and renaming, a fresh lock may have taken the stale one's place: put that one back.
  if (read(aside) !== mark) putBack(aside, path)
  rmSync(aside, { force: true })
  return true
}

function putBack(aside: string, path: string): void {
  try {
    linkSync(aside, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

function isStale(path: string, mark: string): boolean {
  const age = ageOf(path)
  let owner: { host?: string; pid?: number } = {}
  try {
    owner = JSON.parse(mark) as { host?: string; pid?: number }
  } catch {
    // Written at this very moment, or cut off by a crash: its age decides.
    return age > 5_000
  }
  if (owner.host !== hostname() || owner.pid === undefined) return age > staleMs
  return !isAlive(owner.pid)
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function ageOf(path: string): number {
  return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0)
}

function touch(path: string): void {
  try {
    utimesSync(path, new Date(), new Date())
  } catch (error) {
    // The folder was removed under a running download: the download itself will say so.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
