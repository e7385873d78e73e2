import * as fs from 'node:fs'
import { TrainingError, WorkerError } from '../errors'
import type { Plan } from '../plan/plan'
import { smallerPlan, type Remedy } from '../plan/smaller'

/** Out-of-memory kills that the kernel has counted, for this control group and for the machine. */
export interface OomCount { readonly group: number; readonly machine: number }

/** Reads the kernel's counters; zeros where there are none (macOS, old kernels). */
export function countOomKills(): OomCount {
  return { group: counter('/sys/fs/cgroup/memory.events'), machine: counter('/proc/vmstat') }
}

/** The kernel has killed for want of memory since it was counted. */
export function ranOutOfMemory(before: OomCount): boolean {
  const now = countOomKills()
  return now.group > before.group || now.machine > before.machine
}

function counter(file: string): number {
  try { return Number(/^oom_kill (\d+)$/m.exec(fs.readFileSync(file, 'utf8'))?.[1] ?? 0) } catch { return 0 }
}

/** What is known of a worker that ended without a word. */
export interface Death {
  readonly pid: number
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** Last step that was reported. */
  readonly step: number | null
  /** Last resident memory that was reported, MiB. */
  readonly memory: number | null
  readonly oomBefore: OomCount
  readonly plan: Plan
  readonly log: string
  /** There is one to resume from. */
  readonly checkpoint: boolean
}

const same = (text: string): Remedy => ({ calls: text, flags: text })
/** One smaller way to the same steps. `plan()` finds the fastest that fits. */
function lessMemory(plan: Plan): Remedy {
  const { calls, flags } = smallerPlan(plan)
  return { calls: `try ${calls}, or the fastest way that fits: .fit()`, flags: `try ${flags}, or see what fits: fettle plan` }
}

/** How to go on after an end from outside. */
export function startAgain(checkpoint: boolean): Remedy {
  if (!checkpoint) return same('start again from the beginning: no checkpoint had been written')
  return { calls: 'start again with .resume() to go on from the last checkpoint', flags: 'start again with --resume_from_checkpoint true to go on from the last checkpoint' }
}

/** The same error for a command line: its remedy names flags. */
export function inFlags(error: unknown): unknown {
  if (!(error instanceof WorkerError || error instanceof TrainingError)) return error
  const { remedy, remedyFlags, ...details } = error.details
  if (typeof remedy !== 'string' || typeof remedyFlags !== 'string') return error
  // A function, as a text would have its $ read.
  const Class = error instanceof WorkerError ? WorkerError : TrainingError
  return new Class(error.code, error.message.replace(remedy, () => remedyFlags), { ...details, remedy: remedyFlags }, { cause: error.cause })
}

/** The typed error for a worker's death: rank, likely cause, what to change, and the end of its log. */
export function explainDeath(death: Death): WorkerError {
  const { pid, code, signal, step, memory, log } = death
  const { cause, remedy } = likely(death)
  const how = signal ? `was killed by ${signal}` : `exited with code ${code}`
  const when = step === null ? 'before its first step' : `after step ${step}`
  const message = `rank 0 (process ${pid}) ${how} ${when}; likely cause: ${cause}; ${remedy.calls}${logTail(log)}`
  return new WorkerError(signal ? 'worker.killed' : 'worker.exited', message, { rank: 0, pid, exitCode: code, signal, step, memoryMiB: memory, cause, remedy: remedy.calls, remedyFlags: remedy.flags, log })
}

function likely({ code, signal, memory, oomBefore, checkpoint, plan, log }: Death): { cause: string; remedy: Remedy } {
  const again = startAgain(checkpoint)
  const held = memory === null ? '' : ` (it held ${Math.round(memory)} MiB)`
  if (signal === 'SIGKILL') {
    if (ranOutOfMemory(oomBefore)) return { cause: `the machine ran out of memory${held}`, remedy: lessMemory(plan) }
    const less = lessMemory(plan)
    return { cause: `something outside ended it: kill -9, a job scheduler's limit, or a memory guard that leaves no count${held}`, remedy: { calls: `${again.calls}; if memory was short, ${less.calls}`, flags: `${again.flags}; if memory was short, ${less.flags}` } }
  }
  if (signal === 'SIGTERM' || signal === 'SIGINT' || signal === 'SIGHUP') return { cause: 'it was asked to end from outside', remedy: again }
  if (signal === 'SIGILL') return { cause: 'a processor instruction that this machine lacks', remedy: { calls: "try .blocks('plain'), and rebuild with npm run setup", flags: 'try --blocks plain, and rebuild with npm run setup' } }
  if ((signal === 'SIGABRT' || signal === 'SIGTRAP' || code === 134) && /bad_alloc|out of memory|allocation failed|cannot allocate/i.test(lastLines(log, 40))) return { cause: `memory ran out${held}`, remedy: lessMemory(plan) }
  if (signal) return { cause: 'a fault in native code', remedy: { calls: "try .blocks('plain'), and report it with the log", flags: 'try --blocks plain, and report it with the log' } }
  if (code === 134) return { cause: 'JavaScript or native code ran out of memory', remedy: lessMemory(plan) }
  return { cause: 'an error that it could not report', remedy: same('read its log') }
}

/** What an error quotes of a worker's log. */
export function logTail(log: string): string {
  const tail = lastLines(log)
  return tail === '' ? `\n  its log ${log} is empty` : `\n  last lines of ${log}:\n${tail.replace(/^/gm, '    ')}`
}

/** The end of a text file: its last lines that are not blank. */
function lastLines(file: string, count = 12): string {
  try {
    const { size } = fs.statSync(file)
    const fd = fs.openSync(file, 'r')
    try {
      const bytes = Buffer.alloc(Math.min(size, 8192))
      fs.readSync(fd, bytes, 0, bytes.length, size - bytes.length)
      return bytes.toString('utf8').split('\n').filter((line) => line.trim() !== '').slice(-count).join('\n')
    } finally { fs.closeSync(fd) }
  } catch { return '' }
}
