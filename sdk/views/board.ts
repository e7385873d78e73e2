import type { RunEvent } from '../run/events'
import { lossChart, smallCharts } from './charts'
import { combine, type Figure } from './figure'
import { html, scriptJson, type Html } from './html'
import { progressHtml, summaryText } from './progress'
import { libraryHtml } from './runtime'
import { samplesHtml, samplesText } from './samples'
import { collect, type RunView } from './series'
import { styleHtml } from './style'
import { svgOf } from './svg'

/** Everything that is shown of a run. */
export interface BoardView {
  readonly figures: readonly Figure[]
  /** Progress above the charts. */
  readonly head: Html
  /** Samples below them. */
  readonly samples: Html
  /** One page without scripts: progress, charts as a picture, samples. */
  readonly html: string
  readonly text: string
}

/** The board of a run: a pure function of its events. */
export function board(events: readonly RunEvent[]): BoardView {
  const view = collect(events)
  const figures = figuresOf(view)
  const head = html`${styleHtml}<div class="fettle">${progressHtml(view)}</div>`
  const samples = view.samples.length > 0 ? html`${styleHtml}<div class="fettle">${samplesHtml(view)}</div>` : html``
  return {
    figures, head, samples,
    // The picture takes longer than all else, and a live display does not look at it.
    get html() { return html`${head}${figures.length > 0 && html`<div class="fettle">${stillHtml(figures)}</div>`}${samples}`.toString() },
    text: [summaryText(view), samplesText(view)].filter(Boolean).join('\n\n'),
  }
}

function figuresOf(view: RunView): Figure[] {
  return view.steps.length === 0 && view.evals.length === 0 ? [] : [lossChart(view), ...smallCharts(view)]
}

/* A notebook that is not trusted loses scripts and style sheets, but not pictures and inline styles: what only a script
 * would fill is hidden inline, and the script shows it. */

/** Where the charts of board `name` are drawn. With `figures` it holds them, and a picture of them for readers that run no
 * scripts; with `library` it brings Plotly, which a page needs once. */
export function chartsHtml(name: string, figures: readonly Figure[], options: { library: boolean; still: boolean }): string {
  const [first, ...small] = figures.map((figure) =>
    html`<figure><figcaption>${figure.title}</figcaption><div data-fettle="${name}/${figure.id}" style="min-height:${figure.height}px"></div></figure>`)
  return html`${styleHtml}<div class="fettle">${options.still && stillHtml(figures)}<div class="fettle-charts"${options.still && html` style="display:none"`}>${first}<div class="fettle-small">${small}</div></div></div>${
    options.library && libraryHtml()}${drawHtml(name, figures)}`.toString()
}

/** A small script that has the page draw these figures in the places of board `name`. */
export function drawHtml(name: string, figures: readonly Figure[]): Html {
  const plain = figures.map(({ id, data, layout }) => ({ id, data, layout }))
  return html`<script type="text/javascript">(window.fettleBoards = window.fettleBoards || []).push(${scriptJson({ name, figures: plain })})</script>`
}

/** The charts as one figure, for clients that draw Plotly's JSON themselves. */
export function plotlyJson(figures: readonly Figure[]): Record<string, unknown> {
  return { ...combine(figures), config: { displayModeBar: false, responsive: true } }
}

function stillHtml(figures: readonly Figure[]): Html {
  const data = Buffer.from(svgOf(figures)).toString('base64')
  return html`<div class="fettle-still"><img alt="${figures.map((figure) => figure.title).join(', ')}" src="data:image/svg+xml;base64,${data}"></div>`
}
