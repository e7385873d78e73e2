import { readFileSync } from 'node:fs'
import type { Cell } from './cell'
import { describeInterrupt, type CellError } from './errors'
import { within } from 'fettle/dist/process'
import { displayHook, type DisplayOptions, type LiveRun } from 'fettle/dist/views'

/** How long an interrupted cell may take to finish what stands after its run, and a shutdown to end its runs: the Jupyter
 * client kills a kernel 5 s after it asked. */
const graceMs = { stop: 15_000, cell: 1_500, shutdown: 4_300 }

/** A run as the SDK makes it: its worker stays after training, to answer `generate`, until it is closed. */
interface KernelRun extends LiveRun { readonly pid?: number; close?(): Promise<unknown>; kill?(): void }

interface Watched { readonly run: KernelRun; over: boolean; cell: Cell | null }

/** The runs of a session: each gets a board under its cell, an interrupt stops those that the cell started or waits for, and
 * a shutdown ends them all. Detached runs are left alone. */
export class Runs {
  private readonly watched = new Set<Watched>()
  private readonly all = new Set<KernelRun>()
  private interrupting: Promise<void> | null = null
  private stopped: CellError | null = null
  private ending: Promise<void> | null = null

  /** `current` gives the cell that runs, `owner` the one that the present work belongs to, also behind its end. */
  constructor(private readonly current: () => Cell | null, private readonly giveUp: () => void, private readonly draw: (run: LiveRun, cell: Cell) => void,
    private readonly owner: () => Cell | null = current) {
    const registry = globalThis as unknown as Record<symbol, unknown>
    registry[displayHook] = (run: KernelRun, options?: DisplayOptions) => this.show(run, options)
  }

  enter(): void { this.stopped = null }

  /** Ends a cell; tells what the interrupt stopped, if one did. */
  async leave(): Promise<CellError | null> {
    await this.interrupting
    const stopped = this.stopped
    this.stopped = null
    return stopped
  }

  /** Watches a run of the current cell, and draws it there from now until it is over. */
  show(run: KernelRun, { board = true }: DisplayOptions = {}): void {
    const cell = this.owner()
    if (!cell) return
    const entry: Watched = { run, over: false, cell }
    this.watched.add(entry)
    this.all.add(run)
    const end = () => { entry.over = true; this.watched.delete(entry) }
    run.done.then(end, end)
    this.noteWaiting(entry)
    if (board) this.draw(run, cell)
  }

  /** An interrupt stops the runs that the present cell started or waits for; a second one leaves the cell at once. */
  interrupt(): void {
    const cell = this.current()
    const mine = [...this.watched].filter((entry) => entry.cell === cell)
    const owned = mine.filter(({ run }) => !run.detached && run.stop)
    if (this.interrupting || mine.length === 0) {
      this.interrupting = null
      return this.giveUp()
    }
    if (owned.length === 0) return this.leaveRunning(mine)
    this.interrupting = this.stop(owned, mine.filter(({ run }) => run.detached)).finally(() => { this.interrupting = null })
  }

  /** Ends every worker before the kernel goes, with a checkpoint where the step that it is in leaves time for one. A worker
   * that is still at it then sees the pipe close, ends behind its step and leaves its checkpoint too. */
  shutdown(): Promise<void> {
    this.ending ??= this.end([...this.all].filter((run) => !run.detached))
    return this.ending
  }

  private async end(runs: readonly KernelRun[]): Promise<void> {
    await within(graceMs.shutdown, Promise.allSettled(runs.map(async (run) => { await run.stop?.(); await run.close?.() })))
    // A process that is held (SIGSTOP, a debugger) would never see it.
    for (const run of runs) if (held(run.pid)) run.kill?.()
  }

  private async stop(mine: readonly Watched[], left: readonly Watched[]): Promise<void> {
    await within(graceMs.stop, Promise.allSettled(mine.flatMap(({ run }) => [Promise.resolve(run.stop?.()), run.done])))
    // A second interrupt left the cell meanwhile.
    if (!this.interrupting) return
    const stopped = mine.map((entry) => describeStop(entry)).join('; ')
    this.stopped = describeInterrupt(`${stopped}. Run the cell again to start afresh, or go on with the next cell.${left.map(describeLeft).join('')}`)
    // The cell goes on behind `await run.done`; what takes long there is left, and so is one that waits for a detached run.
    const cell = this.current()
    setTimeout(() => { if (this.stopped && this.current() === cell) this.giveUp() }, left.length > 0 ? 0 : graceMs.cell)
  }

  /** Detached runs outlive the kernel: the cell alone ends. */
  private leaveRunning(mine: readonly Watched[]): void {
    this.stopped = describeInterrupt(`the cell was left.${mine.map(describeLeft).join('')}`)
    this.giveUp()
  }

  /** A later cell that waits for the run, or reads its events, takes it over, so that its interrupt stops it. */
  private noteWaiting(entry: Watched): void {
    const { run } = entry
    const { done } = run
    const take = () => { if (!entry.over) entry.cell = this.owner() }
    if (!Object.isExtensible(run)) return
    Object.defineProperty(run, 'done', { configurable: true, enumerable: true, get: () => { take(); return done } })
    const iterable = run as KernelRun & { [Symbol.asyncIterator]?(): AsyncIterator<unknown> }
    const iterate = iterable[Symbol.asyncIterator]
    if (typeof iterate !== 'function') return
    Object.defineProperty(run, Symbol.asyncIterator, { configurable: true, value: () => { take(); return iterate.call(run) } })
  }
}

function describeStop({ run, over }: Watched): string {
  if (!over) return 'the run stops when the step that it is in ends'
  const done = [...run.events].reverse().find((event) => event.type === 'done')
  return done?.type === 'done' ? `the run was stopped at step ${done.atStep}; what it learned stands in ${done.output}` : 'the run was stopped'
}

function describeLeft({ run }: Watched): string {
  const { dir } = run
  return ` The detached run${dir ? ` in ${dir}` : ''} goes on; stop it with: await run.stop()${dir ? `, or from anywhere: (await attach(${JSON.stringify(dir)})).stop()` : ''}.`
}

/** Whether a process is stopped, so that it can end by nobody's word but SIGKILL (Linux; elsewhere not known). */
function held(pid: number | undefined): boolean {
  try { return /^State:\s+[Tt]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')) } catch { return false }
}
