import type { Plot, PlotLine } from '../plots'
import { axisFormats, hoverFormats } from './numbers'
import type { ChartColours } from './theme'

/** How a chart is drawn. */
export interface FigureStyle {
  readonly colours: ChartColours
  /** In px. */
  readonly height: number
  readonly large: boolean
  readonly log: boolean
}

function trace({ name, role, x, y, width, dots }: PlotLine, plot: Plot, colours: ChartColours): object {
  return {
    type: 'scatter', mode: dots > 0 ? 'lines+markers' : 'lines', name, x, y, showlegend: false,
    line: { color: colours[role], width }, ...(dots > 0 ? { cliponaxis: false, marker: { color: colours[role], size: dots } } : {}),
    hovertemplate: `%{y:${hoverFormats[plot.format]}}${plot.lines.length > 1 ? '' : '<extra></extra>'}`,
  }
}

/** The smallest round number at or above `value`, so that an axis moves in few large steps. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8].find((m) => m * power >= value * (1 - 1e-9)) ?? 10) * power
}

/** Where the vertical axis begins and ends. Rounded: it stays while the newest points lie inside. */
function yRange(plot: Plot): [number, number] | null {
  const values = plot.lines.flatMap(({ y }) => y.filter((value): value is number => value !== null))
  if (values.length === 0) return null
  const [low, high] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity])
  if (plot.format === 'percent' && low >= 0 && high <= 1) return [0, 1.04]
  if (plot.zero && low >= 0) return [0, high > 0 ? roundUp(high * 1.03) : 1]
  const cell = roundUp(Math.max(high - low, Math.abs(high) * 0.02, 1e-9)) / 10
  return [Math.floor(low / cell - 0.2) * cell, Math.ceil(high / cell + 0.2) * cell]
}

/** A plot in Plotly's words: one quiet grid, no frame, room for the ticks and nothing else. */
export function figureOf(plot: Plot, { colours, height, large, log }: FigureStyle): { readonly data: object[]; readonly layout: object } {
  const axis = { gridcolor: colours.grid, zeroline: false, ticks: '', ticklabelstandoff: 3, fixedrange: !large, tickfont: { size: large ? 11 : 10, color: colours.text } }
  const range = yRange(plot)
  return {
    data: plot.lines.map((line) => trace(line, plot, colours)),
    layout: {
      autosize: true, height, uirevision: `${log}`, hovermode: 'x unified', showlegend: false,
      margin: { l: large ? 44 : 38, r: large ? 14 : 12, t: 6, b: large ? 34 : 20 },
      font: { size: 11, color: colours.text, family: 'inherit' },
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      hoverlabel: { bgcolor: colours.paper, bordercolor: colours.grid, font: { size: 11, color: colours.text } },
      dragmode: large ? 'zoom' : false,
      xaxis: { ...axis, showgrid: false, nticks: large ? 7 : 4, tickformat: ',~d', range: [plot.from, plot.to], ...(large ? { title: { text: 'step', standoff: 4, font: { size: 11 } } } : {}) },
      yaxis: {
        ...axis, nticks: large ? 6 : 4, type: log ? 'log' : 'linear', ...(range && !log ? { range } : {}),
        tickformat: axisFormats[plot.format], ...(log ? { dtick: 'D2' } : {}),
      },
    },
  }
}
