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
    line: { color: colours[role], width }, ...(dots > 0 ? { marker: { color: colours[role], size: dots } } : {}),
    hovertemplate: `%{y:${hoverFormats[plot.format]}}${plot.lines.length > 1 ? '' : '<extra></extra>'}`,
  }
}

/** A plot in Plotly's words: one quiet grid, no frame, room for the ticks and nothing else. */
export function figureOf(plot: Plot, { colours, height, large, log }: FigureStyle): { readonly data: object[]; readonly layout: object } {
  const axis = { gridcolor: colours.grid, zeroline: false, ticks: '', fixedrange: !large, tickfont: { size: large ? 11 : 10, color: colours.text } }
  return {
    data: plot.lines.map((line) => trace(line, plot, colours)),
    layout: {
      autosize: true, height, uirevision: 'stay', hovermode: 'x unified', showlegend: false,
      margin: { l: large ? 44 : 38, r: 10, t: 6, b: large ? 30 : 18 },
      font: { size: 11, color: colours.text, family: 'inherit' },
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      hoverlabel: { bgcolor: colours.paper, bordercolor: colours.grid, font: { size: 11, color: colours.text } },
      dragmode: large ? 'zoom' : false,
      xaxis: { ...axis, showgrid: false, nticks: large ? 7 : 4, tickformat: ',~d', ...(large ? { title: { text: 'step', standoff: 4, font: { size: 11 } } } : {}) },
      yaxis: {
        ...axis, nticks: large ? 6 : 4, type: log ? 'log' : 'linear', rangemode: plot.zero ? 'tozero' : 'normal',
        tickformat: axisFormats[plot.format], ...(log ? { dtick: 'D2' } : {}),
      },
    },
  }
}
