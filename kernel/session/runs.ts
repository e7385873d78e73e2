import type { Cell } from './cell'
import { describeInterrupt, type CellError } from './errors'
import type { LiveRun } from 'fettle/dist/views'

/** How long an interrupted cell may take to finish what stands after its run, and a shutdown to end its runs. */
const graceMs = { stop: 15_000, cell: 1_500, shutdown: 3_000 }

/** A run as the SDK makes it: its worker stays after training, to answer `generate`, until it is closed. */
interface KernelRun extends LiveRun { close?(): Promise<unknown>; kill?(): void }

interface Watched { readonly run: KernelRun; over: boolean; cell: Cell | null }

/** The runs of a session: each gets a board under its cell, an interrupt stops those that the cell waits for, and a
 * shutdown ends them all. */
export class Runs {
  private readonly watched = new Set<Watched>()
  private readonly all = new Set<KernelRun>()
  private interrupting: Promise<void> | null = null
  private stopped: CellError | null = null

  constructor(private readonly current: () => Cell | null, private readonly giveUp: () => void, private readonly draw: (run: LiveRun, cell: Cell) => void) {
    const registry = globalThis as unknown as Record<symbol, unknown>
    registry[Symbol.for('fettle.display')] = (run: KernelRun) => this.show(run)
  }

  enter(): void { this.stopped = null }

  /** Ends a cell; tells what the interrupt stopped, if one did. */
  async leave(): Promise<CellError | null> {
    await this.interrupting
    const stopped = this.stopped
    this.stopped = null
    return stopped
  }

  /** Draws a run under the current cell, from now until it is over. */
  show(run: KernelRun): void {
    const cell = this.current()
    if (!cell) return
    const entry: Watched = { run, over: false, cell }
    this.watched.add(entry)
    this.all.add(run)
    const end = () => { entry.over = true; this.watched.delete(entry) }
    run.done.then(end, end)
    this.noteWaiting(entry)
    this.draw(run, cell)
  }

  /** An interrupt stops the runs that the present cell started or waits for; a second one, or one of a cell with detached runs alone, leaves the cell at once. */
  interrupt(): void {
    const cell = this.current()
    const mine = [...this.watched].filter((entry) => entry.cell === cell && entry.run.stop && !entry.run.detached)
    if (this.interrupting || mine.length === 0) {
      this.interrupting = null
      return this.giveUp()
    }
    this.interrupting = this.stop(mine).finally(() => { this.interrupting = null })
  }

  /** Ends every worker before the kernel goes (they also end by themselves when their parent is gone). Detached ones stay. */
  async shutdown(): Promise<void> {
    const ends = [...this.all].map(async (run) => { if (!run.detached) await run.stop?.(); await run.close?.() })
    await within(graceMs.shutdown, Promise.allSettled(ends))
    for (const run of this.all) if (!run.detached) run.kill?.()
  }

  private async stop(mine: readonly Watched[]): Promise<void> {
    await within(graceMs.stop, Promise.allSettled(mine.flatMap(({ run }) => [Promise.resolve(run.stop?.()), run.done])))
    // A second interrupt left the cell meanwhile.
    if (!this.interrupting) return
    const done = mine.map(({ run }) => [...run.events].reverse().find((event) => event.type === 'done')).find((event) => event !== undefined)
    const where = done?.type === 'done' ? ` at step ${done.atStep}; what it learned stands in ${done.output}` : ''
    const what = mine.every(({ over }) => over) ? `the run was stopped${where}` : 'the run stops when the step that it is in ends'
    this.stopped = describeInterrupt(`${what}. Run the cell again to start afresh, or go on with the next cell.`)
    // The cell goes on behind `await run.done`; what takes long there is left.
    const cell = this.current()
    setTimeout(() => { if (this.stopped && this.current() === cell) this.giveUp() }, graceMs.cell)
  }

  /** A later cell that waits for the run takes it over, so that its interrupt stops it: reading `done` tells. */
  private noteWaiting(entry: Watched): void {
    const { run } = entry
    const done = run.done
    const read = () => { if (!entry.over) entry.cell = this.current(); return done }
    if (Object.isExtensible(run)) Object.defineProperty(run, 'done', { configurable: true, enumerable: true, get: read })
  }
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([work, new Promise((resolve) => { timer = setTimeout(resolve, ms) })])
  clearTimeout(timer)
}
