import { downsample, type Series } from './series'

/** One Plotly trace, as plain data. */
export interface Trace {
  readonly type: 'scatter'
  readonly mode: 'lines' | 'markers' | 'lines+markers'
  readonly name: string
  readonly x: readonly number[]
  readonly y: readonly (number | null)[]
  readonly line?: { readonly color: string; readonly width: number }
  readonly marker?: { readonly color: string; readonly size: number }
  readonly hovertemplate?: string
  readonly showlegend: boolean
}

/** One chart: traces and axes without colours of text or paper, which the page gives it (light or dark). */
export interface Figure {
  /** Name within its board; the page finds the chart's element by it. */
  readonly id: string
  readonly title: string
  /** In px. */
  readonly height: number
  readonly data: readonly Trace[]
  readonly layout: Readonly<Record<string, unknown>>
}

/** Middle tones, legible on white and on near-black, and apart for the colour-blind (blue and orange). */
export const colours = {
  main: '#3f83c9', faint: 'rgba(63,131,201,0.38)', second: '#d9792b', third: '#3d9a78', grid: 'rgba(128,128,128,0.22)', text: '#808790',
} as const

/** A line of at most 1,000 points; what is not finite becomes a gap. */
export function line(name: string, series: Series, style: { color: string; width: number; markers?: number; legend?: boolean; format?: string }): Trace {
  const points = downsample(series)
  return {
    type: 'scatter', mode: style.markers ? 'lines+markers' : 'lines', name, x: points.x, y: points.y.map((v) => Number.isFinite(v) ? compact(v) : null),
    line: { color: style.color, width: style.width },
    ...(style.markers ? { marker: { color: style.color, size: style.markers } } : {}),
    hovertemplate: `%{y:${style.format ?? '.4~g'}}`, showlegend: style.legend ?? false,
  }
}

/** Six digits are more than a chart shows; notebooks keep every figure that is drawn. */
function compact(value: number): number {
  return Number(value.toPrecision(6))
}

/** Axes and margins that all charts share: one quiet grid, no frame, room for the ticks and nothing else. */
export function layoutOf(options: { height: number; xTitle?: string; yFormat?: string; legend?: boolean; ticks?: number; rangemode?: 'normal' | 'tozero' }): Record<string, unknown> {
  const axis = { gridcolor: colours.grid, zeroline: false, automargin: true, ticks: '', fixedrange: true }
  return {
    height: options.height,
    margin: { l: 44, r: 12, t: options.legend ? 24 : 8, b: options.xTitle ? 36 : 24 },
    font: { size: 11, color: colours.text },
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    hovermode: 'x unified',
    xaxis: { ...axis, showgrid: false, nticks: options.ticks ?? 6, ...(options.xTitle ? { title: { text: options.xTitle, standoff: 6 } } : {}) },
    yaxis: { ...axis, nticks: 5, rangemode: options.rangemode ?? 'normal', ...(options.yFormat ? { tickformat: options.yFormat } : {}) },
    ...(options.legend ? { legend: { orientation: 'h', x: 0, y: 1.02, xanchor: 'left', yanchor: 'bottom' } } : {}),
    showlegend: options.legend ?? false,
  }
}

/** All charts of a board as one Plotly figure (for clients that draw `application/vnd.plotly.v1+json` themselves): the first
 * on top, the others side by side below it. */
export function combine(figures: readonly Figure[]): Record<string, unknown> {
  const [first, ...rest] = figures
  if (!first) return { data: [], layout: {} }
  const data: Record<string, unknown>[] = first.data.map((trace) => ({ ...trace }))
  const layout: Record<string, unknown> = { ...first.layout, height: first.height + (rest.length ? 200 : 0) }
  if (rest.length === 0) return { data, layout }
  layout.yaxis = { ...(first.layout.yaxis as object), domain: [0.5, 1] }
  const annotations: object[] = []
  rest.forEach((figure, i) => {
    const n = i + 2
    const gap = 0.06
    const width = (1 - gap * (rest.length - 1)) / rest.length
    const from = i * (width + gap)
    layout[`xaxis${n}`] = { ...(figure.layout.xaxis as object), domain: [from, from + width], anchor: `y${n}`, nticks: 3 }
    layout[`yaxis${n}`] = { ...(figure.layout.yaxis as object), domain: [0, 0.28], anchor: `x${n}` }
    annotations.push({ text: figure.title, x: from, y: 0.36, xref: 'paper', yref: 'paper', xanchor: 'left', showarrow: false })
    data.push(...figure.data.map((trace) => ({ ...trace, xaxis: `x${n}`, yaxis: `y${n}`, showlegend: false })))
  })
  return { data, layout: { ...layout, annotations } }
}
