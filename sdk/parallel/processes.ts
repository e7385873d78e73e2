import { fork, type ChildProcess } from 'node:child_process'
import * as os from 'node:os'
import { reviveError, WorkerError, type FettleError, type SerializedError } from '../errors'

/** What a rank process says when it has done its job, or cannot. */
export type FromRank = { readonly kind: 'here' } | { readonly kind: 'done' } | { readonly kind: 'failed'; readonly error: SerializedError }

/** Cores that each of so many ranks of this machine gets. */
export function threadsOf(ranks: number, threads: number | null = null): number {
  return Math.max(1, threads ?? Math.floor(os.availableParallelism() / ranks))
}

/** Environment of a rank that shares cores: threads that wait for each other do not spin (native.md: a spinning barrier takes the core that another rank needs). */
export function sharedCores(env: NodeJS.ProcessEnv, ranks: number, threads: number): NodeJS.ProcessEnv {
  return { ...env, OMP_NUM_THREADS: String(threads), ...(ranks > 1 ? { OMP_WAIT_POLICY: 'passive' } : {}) }
}

/** A failure that another rank's caused: the collective of a rank whose peer is gone. */
export function isCollateral({ name, message }: Pick<SerializedError, 'name' | 'message'>): boolean {
  return name === 'NativeError' && /Connection (closed|reset)|gloo|Timed out waiting|Broken pipe|Application timeout/i.test(message)
}

/**
 * Runs one job on many rank processes of this machine. The first that fails of itself ends the others, and its error is
 * thrown: not that of a rank which only missed it.
 * @param entry a module that takes one message and answers `FromRank`
 */
export function runRanks(entry: string, jobs: readonly object[]): Promise<void> {
  const env = sharedCores(process.env, jobs.length, threadsOf(jobs.length))
  return new Promise((resolve, reject) => {
    const children = jobs.map((job): ChildProcess => {
      const child = fork(entry, [], { execArgv: [], env, serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
      child.send(job)
      return child
    })
    const failures: { readonly rank: number; readonly error: FettleError; readonly collateral: boolean }[] = []
    let open = children.length
    const end = (): void => {
      if (--open > 0) return
      const [first] = [...failures].sort((a, b) => Number(a.collateral) - Number(b.collateral))
      if (first === undefined) resolve()
      else reject(first.error)
    }
    children.forEach((child, rank) => {
      let done = false, text = ''
      const fail = (error: FettleError, collateral: boolean): void => {
        done = true
        failures.push({ rank, error, collateral })
        // Others wait for this one in a collective. A moment, so that one of them may say what was the cause.
        if (failures.length === 1) setTimeout(() => { for (const other of children) other.kill('SIGKILL') }, 500).unref()
      }
      child.stderr!.on('data', (data: Buffer) => { text = (text + data.toString('utf8')).slice(-4000) })
      child.on('message', (message: FromRank) => {
        if (message.kind === 'done') done = true
        if (message.kind === 'failed') fail(reviveError(message.error), isCollateral(message.error))
      })
      child.on('exit', (code, signal) => {
        if (!done) fail(new WorkerError('worker.exited', `rank ${rank} of ${children.length} ${signal === null ? `exited with code ${code}` : `was killed by ${signal}`}; it last said: ${text.trim() || 'nothing'}`, { rank, exitCode: code, signal }), failures.length > 0)
        end()
      })
    })
  })
}
