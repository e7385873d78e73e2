// A thread of the first rank that watches all ranks of its machine, while the ranks themselves wait for each other in collectives.
import * as fs from 'node:fs'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { isAlive } from '../../process'

/** Who is watched, and how long nothing may move, in ms. */
export interface Supervised { readonly ranks: readonly { readonly rank: number; readonly pid: number; readonly progress: string }[]; readonly limit: number }

/** The rank that was found and ended, and why. */
export interface Verdict { readonly rank: number; readonly why: string }

/** A look at one rank. */
interface Look { readonly rank: number; readonly state: string; readonly cpu: number; readonly begun: bigint; readonly waits: boolean }

/**
 * Finds a rank that is stopped or hangs: while nobody computes and nobody begins another collective, it is one that does not wait for
 * its peers. How many each has begun does not tell it: stages and their first and last ranks have collectives of their own.
 * The rank is killed, so that the others' collectives fail at once.
 */
export class Supervisor {
  private before = ''
  private still = 0

  constructor(private readonly watched: Supervised) {}

  /** @param passed ms since the last look */
  look(passed: number): Verdict | null {
    const looks = this.watched.ranks.map(({ rank, pid, progress }): Look => ({ rank, ...processOf(pid), ...progressOf(progress) }))
    const now = JSON.stringify(looks.map(({ cpu, begun }) => [cpu, String(begun)]))
    this.still = now === this.before ? this.still + passed : 0
    this.before = now
    if (this.still < this.watched.limit) return null
    // The first rank may wait for commands for ever, and is watched by its front.
    const [first] = looks, missing = looks.find(isStopped) ?? looks.find(({ waits }) => !waits)
    if (!first.waits || missing === undefined || missing === first) return null
    // A slow disk gets more time.
    if (missing.state === 'D' && this.still < 10 * this.watched.limit) return null
    return { rank: missing.rank, why: isStopped(missing) ? 'is stopped' : `did not move for ${Math.round(this.still / 1000)} s` }
  }
}

/** State and CPU time of a process's first thread, which computes and waits; in the first rank another one is this supervisor. */
function processOf(pid: number): { state: string; cpu: number } {
  try {
    const text = fs.readFileSync(`/proc/${pid}/task/${pid}/stat`, 'utf8'), fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0], cpu: Number(fields[11]) + Number(fields[12]) }
  } catch { return { state: isAlive(pid) ? '?' : 'gone', cpu: 0 } }
}

function isStopped({ state }: Look): boolean { return state === 'T' || state === 't' }

function progressOf(file: string): Pick<Look, 'begun' | 'waits'> {
  try {
    const bytes = fs.readFileSync(file)
    return { begun: bytes.readBigUInt64LE(0), waits: bytes.readBigUInt64LE(8) === 1n }
  } catch { return { begun: -1n, waits: false } }
}

if (!isMainThread && parentPort !== null && (workerData as Partial<Supervised> | null)?.ranks !== undefined) {
  const watched = workerData as Supervised, supervisor = new Supervisor(watched), interval = 500
  const timer = setInterval(() => {
    const verdict = supervisor.look(interval)
    if (verdict === null) return
    // The run ends with it: there is no second verdict.
    clearInterval(timer)
    parentPort!.postMessage(verdict)
    const { pid } = watched.ranks.find(({ rank }) => rank === verdict.rank)!
    try { process.kill(pid, 'SIGKILL') } catch { /* It has ended by itself. */ }
  }, interval)
}
