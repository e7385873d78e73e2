import { fork, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { Worker } from 'node:worker_threads'
import { reviveError, WorkerError, type FettleError } from '../../errors'
import { logTail } from '../../run/death'
import { isOfAnother } from '../../parallel/control'
import { forkPlaced, isCollateral, type FromRank } from '../../parallel/processes'
import type { FollowerJob } from './follower'
import type { Supervised, Verdict } from './supervisor'

/** One rank beside the first, and what is known of its end. */
interface Follower { readonly rank: number; readonly child: ChildProcess; here: boolean; error: FettleError | null; exit: string | null }

/**
 * The other ranks of this machine: processes that the first one starts, watches, and ends with itself. The kernel ends
 * them with it however it ends, so that none is left behind.
 */
export class Followers {
  private readonly all: Follower[]
  private readonly supervisor: Worker
  private readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-ranks-'))
  private verdict: Verdict | null = null
  private closing = false

  /** File of the store that ranks meet at. */
  readonly store = path.join(this.folder, 'store')

  private readonly output: string

  constructor(job: Pick<FollowerJob, 'plan' | 'modelPath' | 'output' | 'checkpoint'>, private readonly count: number) {
    const { plan, output } = job
    this.output = output
    this.all = Array.from({ length: count - 1 }, (_, i): Follower => {
      const rank = i + 1, log = fs.openSync(rankLog(output, rank), 'w')
      try {
        const child = fork(path.join(__dirname, 'follower-process.js'), [], { ...forkPlaced(rank, count, plan.threads), serialization: 'advanced', stdio: ['ignore', log, log, 'ipc'] })
        const follower: Follower = { rank, child, here: false, error: null, exit: null }
        child.on('message', (message: FromRank) => {
          if (message.kind === 'failed') follower.error = reviveError(message.error)
          if (message.kind === 'here') follower.here = true
        })
        child.on('exit', (code, signal) => { follower.exit = signal === null ? `exited with code ${code}` : `was killed by ${signal}` })
        child.send({ ...job, meeting: { store: this.store, rank, ranks: count, progress: this.progressFile(rank) } } satisfies FollowerJob)
        return follower
      } finally { fs.closeSync(log) }
    })
    const supervised: Supervised = { ranks: [{ rank: 0, pid: process.pid, progress: this.progressFile(0) }, ...this.all.map(({ rank, child }) => ({ rank, pid: child.pid ?? -1, progress: this.progressFile(rank) }))], limit: hangLimit() }
    this.supervisor = new Worker(path.join(__dirname, 'supervisor.js'), { workerData: supervised })
    this.supervisor.unref()
    this.supervisor.on('message', (verdict: Verdict) => { this.verdict = verdict })
  }

  /** Waits until all have come up. @throws what one of them failed with, WorkerError `worker.killed` when one has ended */
  async here(): Promise<void> {
    for (;;) {
      const failed = this.all.find(({ error, exit }) => error !== null || exit !== null)
      if (failed !== undefined) throw failed.error === null ? this.dead(failed) : blamed(failed.error, failed.rank)
      if (this.all.every(({ here }) => here)) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  /** File in which a rank shows how far it is. */
  progressFile(rank: number): string { return path.join(this.folder, `progress-${rank}`) }

  /**
   * Why a collective failed: the error of the rank that failed first, or that it is gone or hangs. An error of this rank's
   * own is given back.
   */
  async explain(error: unknown): Promise<unknown> {
    const own = error as { name?: string; message?: string }
    if (!isCollateral({ name: own?.name ?? '', message: own?.message ?? '' }) && !isOfAnother(error)) return error
    // Their last words and their ends come as events of this process's loop.
    const cause = (): Follower | undefined => this.all.find((each) => each.error !== null && !isCollateral({ name: 'NativeError', message: each.error.message })) ?? undefined
    for (let waited = 0; waited < 3000 && cause() === undefined && this.verdict === null; waited += 50) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      if (waited >= 500 && this.all.some(({ exit, error: told }) => exit !== null && told === null)) break
    }
    const failed = cause()
    if (failed !== undefined) return blamed(failed.error!, failed.rank)
    if (this.verdict !== null) {
      const { rank, why } = this.verdict
      return new WorkerError('worker.hung', `rank ${rank} of ${this.count} (process ${this.pid(rank)}) ${why}, and the others waited for it: all were ended. Resume from the last checkpoint with .resume() / resume_from_checkpoint${logTail(rankLog(this.output, rank))}`, { rank, pid: this.pid(rank), why })
    }
    const dead = this.all.find(({ exit, error: told }) => exit !== null && told === null)
    if (dead === undefined) return error
    return this.dead(dead)
  }

  /** They were told to end, or fail with this rank. */
  async close(): Promise<void> {
    if (this.closing) return
    this.closing = true
    await this.supervisor.terminate()
    const left = (): boolean => this.all.some(({ exit }) => exit === null)
    for (let waited = 0; waited < 2000 && left(); waited += 20) await new Promise((resolve) => setTimeout(resolve, 20))
    for (const { child } of this.all) child.kill('SIGKILL')
    fs.rmSync(this.folder, { recursive: true, force: true })
  }

  private dead({ rank, child, exit }: Follower): WorkerError {
    return new WorkerError('worker.killed', `rank ${rank} of ${this.count} (process ${child.pid}) ${exit}, and the others cannot go on without it. Resume from the last checkpoint with .resume() / resume_from_checkpoint${logTail(rankLog(this.output, rank))}`, { rank, pid: child.pid ?? null, exit })
  }

  private pid(rank: number): number { return rank === 0 ? process.pid : this.all[rank - 1].child.pid ?? -1 }
}

/** What a rank beside the first prints, in the output folder. */
export function rankLog(output: string, rank: number): string { return path.join(output, `worker-rank-${rank}.log`) }

/** ms without progress of any rank after which one that the others wait for counts as hung. */
function hangLimit(): number { return Number(process.env.FETTLE_RANK_TIMEOUT ?? 8000) }

function blamed(error: FettleError, rank: number): FettleError {
  return reviveError({ name: error.name, code: error.code, message: `rank ${rank}: ${error.message}`, details: { ...error.details, rank } })
}
