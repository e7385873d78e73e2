import { fork, type ChildProcess, type ForkOptions } from 'node:child_process'
import * as os from 'node:os'
import { reviveError, WorkerError, type FettleError, type SerializedError } from '../errors'
import { boundByLauncher, placeRank, readMachine } from './launch'
import { cpulist } from './launch/cpulist'
import { prefixOf } from './launch/place'

/** What a rank process says when it has done its job, or cannot. */
export type FromRank = { readonly kind: 'here' } | { readonly kind: 'done' } | { readonly kind: 'failed'; readonly error: SerializedError }

/**
 * Flags of V8 for ranks. Without them its young generation grows for many steps, and half of it goes back to the kernel at
 * each collection while little is allocated, which is what steps look like to it: the next pass faults the same pages in
 * again, hundreds a step. The first flag also keeps collecting and compiling on the main thread; there is little of either.
 */
export const rankFlags: readonly string[] = ['--predictable', '--max-semi-space-size=2']

/** How a rank's process is started on its share of the machine: bound to its cores, with as many threads as they are. */
export function forkPlaced(rank: number, ranks: number, threads: number | null = null): Pick<ForkOptions, 'env' | 'execPath' | 'execArgv'> {
  if (ranks === 1) return { env: { ...process.env, ...(threads === null ? {} : { OMP_NUM_THREADS: String(threads) }) }, execArgv: [...rankFlags] }
  const machine = readMachine(), { prefix, environment } = placeRank(machine, rank, ranks, 'cpu', boundByLauncher(process.env))
  // The first rank starts the others, and what it may run on is its own share by then.
  const shared = prefix.length === 0 ? {} : { FETTLE_CPUS: cpulist(machine.cores.flatMap(({ cpus }) => cpus)) }
  const env = { ...process.env, ...environment, ...shared, ...(threads === null ? {} : { OMP_NUM_THREADS: String(threads) }) }
  // The binding program becomes the rank: the process keeps its id.
  const [program, ...words] = prefix
  return program === undefined ? { env, execArgv: [...rankFlags] } : { env, execPath: program, execArgv: [...words, process.execPath, ...rankFlags] }
}

/** How a rank starts a process that works for all ranks of the machine: on all cores that they share, though the rank has its own alone. */
export function forkOnSharedCores(): Pick<ForkOptions, 'execPath' | 'execArgv'> {
  if (process.env.FETTLE_CPUS === undefined) return {}
  const { cores, binder } = readMachine(), [program, ...words] = prefixOf(cores.flatMap(({ cpus }) => cpus), binder)
  return program === undefined ? {} : { execPath: program, execArgv: [...words, process.execPath] }
}

/** Threads of this rank's operators: what it was started with, else its share of the cores. */
export function threadsOf(ranks: number, threads: number | null = null): number {
  const given = ranks > 1 ? Number(process.env.OMP_NUM_THREADS) : NaN
  return threads ?? (given >= 1 ? given : Math.max(1, Math.floor(os.availableParallelism() / ranks)))
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
  return new Promise((resolve, reject) => {
    const children = jobs.map((job, rank): ChildProcess => {
      const child = fork(entry, [], { ...forkPlaced(rank, jobs.length), serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
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
