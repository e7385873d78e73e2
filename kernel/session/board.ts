import { randomBytes } from 'node:crypto'
import { FettleError } from 'fettle/dist/errors'
import { BoardReader, type BoardOptions } from 'fettle/dist/views/board-data'
import { boardBundle } from 'fettle/dist/views/bundle'
import type { BoardCommand, BoardData } from 'fettle/dist/views/state'
import type { LiveRun } from 'fettle/dist/views'
import type { Cell } from './cell'
import { controlsOf, obey } from './controls'
import type { LiveBoard, ToPage } from './lab-protocol'
import type { MimeBundle } from './values'

/** One output that shows a board. `library`: its cell brings panel and chart library; `brought`: it did, for the page that is open. */
interface Place { readonly cell: Cell; readonly display: string; readonly library: boolean; brought: boolean }

/** The cell that holds the library, so that a notebook has it once: the id that its client told, and the execution. */
let libraryCell: { id: string; count: number } | null = null

/** Whether the outputs of this cell must bring the library: no other cell of the notebook holds it, or this one was run
 * again and lost it. A client that tells no cell ids gets it with each cell. */
function needsLibrary(cell: Cell): boolean {
  if (cell.id === null) return true
  if (libraryCell && libraryCell.id !== cell.id) return false
  libraryCell = { id: cell.id, count: cell.count }
  return true
}

/** How a run trains, in words; empty while that is not known. */
function methodOf(run: LiveRun): string {
  const { plan } = run as { plan?: { lora?: { rank?: number } | null } }
  if (!plan) return ''
  return plan.lora ? `LoRA rank ${plan.lora.rank}` : 'all weights'
}

/** A run as this kernel shows it: pushed to pages that draw it, and kept in the outputs of its cells for all others. */
export class Board {
  readonly id: string
  private run: LiveRun
  private reader: BoardReader
  private places: Place[] = []
  /** Kept, because a run that was attached reads its plan from a file, which goes with its worker. */
  private method = ''
  private over = false
  private crashed: BoardOptions['crashed'] = null
  /** What pages and outputs have seen. */
  private pushed = ''
  private pushedSamples = ''
  private shown = ''

  /** `ended` is called when the run is over, before anyone who awaits it goes on: its cell may be the last of a notebook. */
  constructor(run: LiveRun, id: string, private readonly ended: () => void) {
    this.id = id
    this.run = run
    this.reader = new BoardReader(run.events)
    this.follow(run)
  }

  /** Another handle of the same run takes over from one that has seen its end. */
  take(run: LiveRun): void {
    if (run === this.run || !this.over) return
    this.run = run
    this.reader = new BoardReader(run.events)
    this.over = false
    this.crashed = null
    this.follow(run)
  }

  private follow(run: LiveRun): void {
    const end = (error?: unknown) => {
      if (this.run !== run) return
      this.over = true
      // A handle that was closed says nothing of its run, which goes on without it. Where the run's own events tell its end,
      // the board goes by them.
      if (error instanceof FettleError && error.code !== 'run.closed') this.crashed = { name: error.name, code: error.code, message: error.message }
      this.ended()
    }
    run.done.then(() => end(), end)
  }

  /** Shows the board as one more output of `cell`; a page with the extension needs no library to draw it. */
  show(cell: Cell, extension: boolean): void {
    const place = { cell, display: `fettle-${randomBytes(6).toString('hex')}`, library: needsLibrary(cell), brought: false }
    this.places.push(place)
    cell.display(this.bundle(place, extension), place.display)
  }

  /** Forgets outputs that are gone, because their cell was run again; tells whether any is left. */
  leave(cell: Cell): boolean {
    this.places = this.places.filter((place) => place.cell.id === null || place.cell.id !== cell.id || place.cell === cell)
    return this.places.length > 0
  }

  get isOver(): boolean { return this.over }

  /** Changes whenever there is something new to show. */
  private get version(): string {
    const { events, progress } = this.run
    return `${events.length} ${this.over} ${progress?.stage} ${progress?.done}`
  }

  private data(): BoardData {
    const { dir, progress, detached } = this.run
    return this.reader.read({
      run: this.id, controls: this.over ? [] : controlsOf(this.run), crashed: this.crashed, method: this.method ||= methodOf(this.run), ...(dir ? { dir } : {}), ...(progress && !this.over ? { progress } : {}),
      ...(detached ? { detached } : {}), ...(this.over ? {} : { now: Date.now() }),
    })
  }

  /** What a page needs that sees it for the first time. */
  live(): LiveBoard { return { run: this.id, cell: this.places.at(-1)?.cell.id ?? null, data: this.data() } }

  /** Sends pages what is new and tells how many bytes that took. */
  push(send: (message: ToPage) => number): number {
    if (this.version === this.pushed) return 0
    this.pushed = this.version
    const { state, samples } = this.data()
    const text = JSON.stringify(samples)
    let bytes = 0
    if (text !== this.pushedSamples) bytes += send({ type: 'samples', run: this.id, samples })
    this.pushedSamples = text
    return bytes + send({ type: 'board', run: this.id, state })
  }

  /** Brings the outputs up to date and tells how many bytes that took, the library (which comes once or twice) apart. */
  refresh(extension: boolean): number {
    if (this.version === this.shown) return 0
    this.shown = this.version
    return this.places.reduce((bytes, place) => {
      const data = this.bundle(place, extension)
      const size = place.cell.display(data, place.display, true)
      return bytes + (/window\.fettleLibrary/.test(data['text/html'] as string) ? 0 : size)
    }, 0)
  }

  /** Whether the outputs lack the end of the run. */
  get unfinished(): boolean { return this.over && this.version !== this.shown }

  /** What a notebook shall keep of it. */
  keep(): MimeBundle { return boardBundle(this.data(), { library: this.places.at(-1)?.library ?? false, final: this.over }) as unknown as MimeBundle }

  private bundle(place: Place, extension: boolean): MimeBundle {
    const library = place.library && (this.over || (!extension && !place.brought))
    place.brought ||= library
    return boardBundle(this.data(), { library, final: this.over }) as unknown as MimeBundle
  }

  command(command: BoardCommand): Promise<string> { return obey(this.run, command) }
}
