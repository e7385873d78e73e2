// A thread of the first rank that watches all ranks of its machine, while the ranks themselves wait for each other in collectives.
import * as fs from 'node:fs'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { isAlive } from '../../process'

/** Who is watched, and how long nothing may move, in ms. */
export interface Supervised { readonly ranks: readonly { readonly rank: number; readonly pid: number; readonly counter: string }[]; readonly limit: number }

/** The rank that was found and ended, and why. */
export interface Verdict { readonly rank: number; readonly why: string }

/** A look at one rank. */
interface Look { readonly rank: number; readonly pid: number; readonly state: string; readonly cpu: number; readonly begun: bigint }

/**
 * Finds a rank that is stopped or waits for ever: ranks that wait for a peer are not at fault. Each has counted the collectives that
 * it began; while nobody computes and nobody begins another, the one with the fewest is the one that is missing. It is
 * killed, so that the others' collectives fail at once.
 */
export class Supervisor {
  private before = ''
  private still = 0

  constructor(private readonly watched: Supervised) {}

  /** @param passed ms since the last look */
  look(passed: number): Verdict | null {
    const looks = this.watched.ranks.map(({ rank, pid, counter }): Look => ({ rank, pid, ...processOf(pid), begun: begunOf(counter) }))
    const now = JSON.stringify(looks.map(({ cpu, begun }) => [cpu, String(begun)]))
    this.still = now === this.before ? this.still + passed : 0
    this.before = now
    if (this.still < this.watched.limit || looks.every(({ begun }) => begun === looks[0].begun)) return null
    const missing = looks.reduce((least, each) => (each.begun < least.begun ? each : least))
    // The first rank may wait for commands for ever, and is watched by its front; a slow disk gets more time.
    if (missing.rank === 0 || (missing.state === 'D' && this.still < 10 * this.watched.limit)) return null
    const why = missing.state === 'T' || missing.state === 't' ? 'is stopped' : `did not move for ${Math.round(this.still / 1000)} s`
    return { rank: missing.rank, why }
  }
}

/** State and CPU time of a process's first thread, which computes and waits; in the first rank another one is this supervisor. */
function processOf(pid: number): { state: string; cpu: number } {
  try {
    const text = fs.readFileSync(`/proc/${pid}/task/${pid}/stat`, 'utf8'), fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0], cpu: Number(fields[11]) + Number(fields[12]) }
  } catch { return { state: isAlive(pid) ? '?' : 'gone', cpu: 0 } }
}

function begunOf(file: string): bigint {
  try { return fs.readFileSync(file).readBigUInt64LE(0) } catch { return -1n }
}

if (!isMainThread && parentPort !== null && (workerData as Partial<Supervised> | null)?.ranks !== undefined) {
  const watched = workerData as Supervised, supervisor = new Supervisor(watched), interval = 500
  setInterval(() => {
    const verdict = supervisor.look(interval)
    if (verdict === null) return
    parentPort!.postMessage(verdict)
    const { pid } = watched.ranks.find(({ rank }) => rank === verdict.rank)!
    process.kill(pid, 'SIGKILL')
  }, interval)
}
