import { randomBytes } from 'node:crypto'
import { board, chartsHtml, drawHtml, plotlyJson, type BoardView, type LiveRun } from 'fettle/dist/views'
import type { Cell } from './cell'

/** Twice a second is as live as an eye asks for. */
const refreshMs = 500

/** The cell that holds the chart library, so that a page gets it once: the id that its client told, and the execution. */
let libraryCell: { id: string; count: number } | null = null

/** Whether the outputs of this cell must bring the library: no other cell of the notebook holds it, or this one was run
 * again and lost it. A client that tells no cell ids gets it with each cell. */
function needsLibrary(cell: Cell): boolean {
  if (cell.id === null) return true
  if (libraryCell && libraryCell.id !== cell.id) return false
  libraryCell = { id: cell.id, count: cell.count }
  return true
}

/**
 * The live display of one run under one cell. Three outputs: progress (replaced twice a second, with the new points),
 * charts (placed once, so that they never flicker), samples. At the end each holds its final state, charts and library
 * included, so that the saved notebook shows them without a kernel.
 */
export class Board {
  private readonly name = randomBytes(6).toString('hex')
  private readonly library: boolean
  private timer: NodeJS.Timeout | null = null
  private seen = -1
  private charts = 0
  private samples = ''

  constructor(private readonly run: LiveRun, private readonly cell: Cell) {
    this.library = needsLibrary(cell)
  }

  start(): void {
    const { head } = board(this.run.events)
    this.cell.display({ 'text/html': head.toString(), 'text/plain': '' }, this.id('head'))
    // Their places, in this order: samples may come before there is a step to draw.
    for (const part of ['charts', 'samples']) this.cell.display({ 'text/html': '<div></div>', 'text/plain': '' }, this.id(part))
    this.timer = setInterval(() => this.refresh(), refreshMs)
    // A display must not keep a process alive.
    this.timer.unref()
    const end = () => { if (this.timer) clearInterval(this.timer); this.finish() }
    this.run.done.then(end, end)
  }

  private id(part: string): string { return `fettle-${this.name}-${part}` }

  private refresh(): void {
    if (this.run.events.length === this.seen) return
    this.seen = this.run.events.length
    const view = board(this.run.events)
    this.place(view)
    this.cell.display({ 'text/html': view.head.toString() + drawHtml(this.name, view.figures).toString(), 'text/plain': view.text }, this.id('head'), true)
    this.showSamples(view)
  }

  /** Puts the charts' elements on the page when there is something to draw, and again when a chart joins (evaluation): what
   * stands there is left alone between, so that nothing flickers. */
  private place(view: BoardView): void {
    if (view.figures.length === this.charts) return
    const library = this.library && this.charts === 0
    this.charts = view.figures.length
    const html = chartsHtml(this.name, view.figures, { library, still: false })
    this.cell.display({ 'text/html': html, 'text/plain': '' }, this.id('charts'), true)
  }

  private showSamples(view: BoardView): void {
    const html = view.samples.toString()
    if (html === '' || html === this.samples) return
    this.samples = html
    this.cell.display({ 'text/html': html, 'text/plain': '' }, this.id('samples'), true)
  }

  private finish(): void {
    const view = board(this.run.events)
    this.place(view)
    this.cell.display({ 'text/html': view.head.toString(), 'text/plain': view.text }, this.id('head'), true)
    if (this.charts > 0) {
      const html = chartsHtml(this.name, view.figures, { library: this.library, still: true })
      this.cell.display({ 'text/html': html, 'application/vnd.plotly.v1+json': plotlyJson(view.figures), 'text/plain': '' }, this.id('charts'), true)
    }
    this.showSamples(view)
  }
}
