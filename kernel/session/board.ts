import { randomBytes } from 'node:crypto'
import { FettleError } from 'fettle/dist/errors'
import { BoardReader, type BoardOptions } from 'fettle/dist/views/board-data'
import type { LiveRun } from 'fettle/dist/views'
import type { BoardCommand, BoardData } from 'fettle/dist/views/state'
import type { Cell } from './cell'
import { controlsOf, obey } from './controls'
import type { LiveBoard, ToPage } from './lab-protocol'
import { bundleOfBoard, needsLibrary } from './fallback'
import type { MimeBundle } from './values'

/** One output that shows a board. */
interface Place { readonly cell: Cell; readonly display: string; readonly library: boolean }

/** A run as this kernel shows it: pushed to pages that draw it, and kept in the outputs of its cells for all others. */
export class Board {
  readonly id: string
  private run: LiveRun
  private reader: BoardReader
  private places: Place[] = []
  private over = false
  private crashed: BoardOptions['crashed'] = null
  /** What pages and outputs have seen. */
  private pushed = ''
  private pushedSamples = ''
  private shown = ''

  constructor(run: LiveRun, id: string) {
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
      const told = run.events.some((event) => event.type === 'failed')
      if (error instanceof FettleError && !told) this.crashed = { name: error.name, code: error.code, message: error.message }
    }
    run.done.then(() => end(), end)
  }

  /** Shows the board as one more output of `cell`. */
  show(cell: Cell): void {
    const place = { cell, display: `fettle-${randomBytes(6).toString('hex')}`, library: needsLibrary(cell) }
    this.places.push(place)
    cell.display(this.bundle(place, 'live'), place.display)
  }

  /** Forgets outputs that are gone, because their cell was run again; tells whether any is left. */
  leave(cell: Cell): boolean {
    this.places = this.places.filter((place) => place.cell.id === null || place.cell.id !== cell.id || place.cell === cell)
    return this.places.length > 0
  }

  get ended(): boolean { return this.over }

  /** Changes whenever there is something new to show. */
  private get version(): string {
    const { events, progress } = this.run
    return `${events.length} ${this.over} ${progress?.stage} ${progress?.done}`
  }

  data(maxPoints?: number): BoardData {
    const { dir, progress, detached } = this.run
    return this.reader.read({
      run: this.id, controls: controlsOf(this.run), crashed: this.crashed, ...(dir ? { dir } : {}), ...(progress && !this.over ? { progress } : {}),
      ...(detached ? { detached } : {}), ...(this.over ? {} : { now: Date.now() }), ...(maxPoints ? { maxPoints } : {}),
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

  /** Brings the outputs up to date, with or without the extension; the bytes that it took. */
  refresh(): number {
    if (this.version === this.shown) return 0
    this.shown = this.version
    return this.places.reduce((bytes, place) => bytes + place.cell.display(this.bundle(place, this.over ? 'end' : 'live'), place.display, true), 0)
  }

  /** Whether the outputs lack the end of the run. */
  get unfinished(): boolean { return this.over && this.version !== this.shown }

  /** What a notebook shall keep of it. */
  keep(): MimeBundle {
    const place = this.places.at(-1)
    return bundleOfBoard(this.data(), place?.library ?? false, this.over ? 'end' : 'live', this.run.events)
  }

  private bundle(place: Place, moment: 'live' | 'end'): MimeBundle { return bundleOfBoard(this.data(), place.library, moment, this.run.events) }

  command(command: BoardCommand): Promise<string> { return obey(this.run, command) }
}
