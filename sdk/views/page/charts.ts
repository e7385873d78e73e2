import { isOver } from '../figures'
import { plotsOf, type Plot } from '../plots'
import type { BoardState } from '../state'
import type { PlotlyLike } from './api'
import { h, setAttribute, setText } from './dom'
import { figureOf } from './figure'
import { written } from './numbers'
import type { Theme } from './theme'

/** One chart: heading, newest value, drawing. */
class Chart {
  readonly element: HTMLElement
  private readonly value = h('span', { class: 'fb-chart-value' })
  private readonly place = h('div', { class: 'fb-plot', role: 'img' })
  private plot: Plot | null = null
  private key = ''
  private drawn = false
  private log = false
  private visible = true
  private stale = false

  constructor(title: string, private readonly large: boolean, private readonly theme: Theme, private readonly plotly: () => Promise<PlotlyLike>) {
    const heading = h('div', { class: 'fb-chart-head' }, h('span', { class: 'fb-chart-title', text: title }), large ? legend() : null, large ? this.logToggle() : this.value)
    this.element = h('div', { class: large ? 'fb-chart fb-chart-large' : 'fb-chart' }, heading, this.place)
  }

  private logToggle(): HTMLElement {
    const button = h('button', { type: 'button', class: 'fb-quiet', 'aria-pressed': 'false', title: 'Logarithmic loss axis', text: 'log' })
    button.addEventListener('click', () => {
      this.log = !this.log
      button.setAttribute('aria-pressed', String(this.log))
      void this.draw()
    })
    return button
  }

  /** Called when it enters or leaves the view: what nobody sees is not drawn. */
  see(visible: boolean): void {
    this.visible = visible
    if (visible && this.stale) void this.draw()
  }

  get target(): HTMLElement { return this.place }

  update(plot: Plot): void {
    const key = JSON.stringify(plot)
    if (key === this.key) return
    this.key = key
    this.plot = plot
    setText(this.value, written(plot.value, plot.format))
    setAttribute(this.place, 'aria-label', describe(plot))
    // The first picture comes in any case: a page may be printed or photographed unseen.
    if (this.visible || !this.drawn) void this.draw()
    else this.stale = true
  }

  async draw(): Promise<void> {
    const { plot } = this
    this.stale = false
    // An empty chart keeps its place; the library would fill it with made-up axes.
    if (!plot || !plot.lines.some(({ x }) => x.length > 0)) return
    const plotly = await this.plotly()
    if (this.plot !== plot && this.drawn) return
    this.drawn = true
    const { data, layout } = figureOf(plot, { colours: this.theme.colours, height: this.place.clientHeight || (this.large ? 260 : 96), large: this.large, log: this.log })
    await plotly.react(this.place, data, layout, { displayModeBar: false, responsive: false })
  }

  async resize(): Promise<void> {
    if (this.drawn && this.place.clientWidth > 0) await this.draw()
  }

  dispose(): void {
    if (this.drawn) void this.plotly().then((plotly) => plotly.purge(this.place))
  }
}

function legend(): HTMLElement {
  const entry = (kind: string, text: string) => h('span', { class: `fb-key fb-key-${kind}` }, h('i', { 'aria-hidden': 'true' }), document.createTextNode(text))
  return h('span', { class: 'fb-legend' }, entry('faint', 'each step'), entry('main', 'smoothed'), entry('second', 'held-out'))
}

/** A chart in words. */
function describe({ title, format, lines }: Plot): string {
  const said = lines.map(({ name, x, y }) => {
    const values = y.filter((value): value is number => value !== null)
    if (values.length === 0) return null
    const range = `from ${written(values[0], format)} to ${written(values[values.length - 1], format)}, lowest ${written(Math.min(...values), format)}, highest ${written(Math.max(...values), format)}`
    return `${lines.length > 1 ? `${name}: ` : ''}${range}, steps ${x[0]} to ${x[x.length - 1]}`
  }).filter((text) => text !== null)
  return said.length > 0 ? `${title}. ${said.join('. ')}` : `${title}: nothing yet`
}

/** All charts of a board. */
export class Charts {
  readonly element: HTMLElement
  private readonly charts = new Map<string, Chart>()
  private seen = false
  private readonly views: IntersectionObserver
  private readonly sizes: ResizeObserver
  private readonly print = () => this.repaint()

  constructor(theme: Theme, plotly: () => Promise<PlotlyLike>) {
    const [loss, ...small] = [['loss', 'Loss'], ['learning-rate', 'Learning rate'], ['gradient-norm', 'Gradient norm'], ['accuracy', 'Held-out accuracy'], ['speed', 'Tokens/s'], ['utilisation', 'Utilisation'], ['memory', 'Memory, MiB']]
      .map(([id, title], i) => {
        const chart = new Chart(title, i === 0, theme, plotly)
        chart.target.dataset.fettle = `board/${id}`
        this.charts.set(id, chart)
        return chart.element
      })
    this.element = h('div', { class: 'fb-charts' }, loss, h('div', { class: 'fb-small' }, ...small))
    const byTarget = new Map([...this.charts.values()].map((chart) => [chart.target as Element, chart]))
    this.views = new IntersectionObserver((entries) => { for (const { target, isIntersecting } of entries) byTarget.get(target)?.see(isIntersecting) }, { rootMargin: '200px' })
    const widths = new Map<Element, number>()
    this.sizes = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) {
        if (Math.abs((widths.get(target) ?? 0) - contentRect.width) < 1) continue
        widths.set(target, contentRect.width)
        void byTarget.get(target)?.resize()
      }
    })
    window.addEventListener('beforeprint', this.print)
    for (const target of byTarget.keys()) { this.views.observe(target); this.sizes.observe(target) }
  }

  update(state: BoardState): void {
    for (const plot of plotsOf(state)) {
      const chart = this.charts.get(plot.id)
      if (!chart) continue
      chart.update(plot)
      // A run that ended without evaluations has no held-out accuracy; one that was seen to end keeps its place.
      if (!this.seen) chart.element.hidden = plot.id === 'accuracy' && isOver(state.status) && plot.lines.every(({ x }) => x.length === 0)
    }
    this.seen = true
  }

  /** Draws all anew: in the colours of the theme, or for paper. */
  repaint(): void {
    for (const chart of this.charts.values()) void chart.draw()
  }

  dispose(): void {
    window.removeEventListener('beforeprint', this.print)
    this.views.disconnect()
    this.sizes.disconnect()
    for (const chart of this.charts.values()) chart.dispose()
  }
}
