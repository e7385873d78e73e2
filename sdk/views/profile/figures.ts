import { colours } from '../colours'
import { bytesText } from '../objects/frame'
import { flameColours, isStrong } from './colours'
import { legend, type Flame, type FlameBox, type FlameColour } from './flame'
import type { Staircase } from './staircase'

/** A chart in Plotly's words. */
export interface PlotlyFigure { readonly data: readonly object[]; readonly layout: object }

const font = { size: 11, color: colours.text, family: 'inherit' }
const ground = { paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font, hoverlabel: { align: 'left', font: { size: 11 } } }

function trace(colour: FlameColour, boxes: readonly FlameBox[]): object {
  const named = legend.find(([each]) => each === colour)?.[1]
  return {
    type: 'bar', orientation: 'h', name: named ?? 'frames', showlegend: named !== undefined, base: boxes.map(({ start }) => start), x: boxes.map(({ ms }) => ms), y: boxes.map(({ row }) => row), width: 0.94,
    text: boxes.map(({ row, label }) => (row === layerRow && /^\d+$/.test(label) ? '' : label)), textposition: 'inside', insidetextanchor: 'middle', textangle: 0, textfont: { size: 9, color: isStrong(colour) ? '#ffffff' : colours.text },
    customdata: boxes.map(({ hover }) => hover.join('<br>')), hovertemplate: '%{customdata}<extra></extra>', marker: { color: flameColours[colour], line: { width: 0 } },
  }
}

const layerRow = 2, plotWidth = 880

/** Numbers of layers, which the library would leave out where they nearly touch their boxes' edges: as many as have room. */
function layerNumbers({ boxes, length }: Flame): object {
  const layers = boxes.filter(({ row, label }) => row === layerRow && /^\d+$/.test(label)), widths = layers.map(({ ms }) => (ms / length) * plotWidth).sort((a, b) => a - b)
  const every = Math.max(1, Math.ceil(12 / (widths[widths.length >> 1] ?? 12))), shown = layers.filter(({ label }) => Number(label) % every === 0)
  return { type: 'scatter', mode: 'text', showlegend: false, hoverinfo: 'skip', x: shown.map(({ start, ms }) => start + ms / 2), y: shown.map(({ row }) => row), text: shown.map(({ label }) => label), textfont: { size: 9, color: colours.text } }
}

/** The flame chart: time to the right, what is inside a box below it. Dragging enlarges, a double click shows all again. */
export function flameFigure(flame: Flame): PlotlyFigure {
  const { boxes, rows, length } = flame, present = [...new Set(boxes.map(({ colour }) => colour))]
  return {
    data: [...present.map((colour) => trace(colour, boxes.filter((box) => box.colour === colour))), layerNumbers(flame)],
    layout: {
      ...ground, height: 60 + 28 * rows.length + 30, barmode: 'overlay', dragmode: 'zoom', margin: { l: 44, r: 14, t: 6, b: 34 }, uniformtext: { mode: 'hide', minsize: 8 },
      legend: { orientation: 'h', y: -0.22, yanchor: 'top', font: { size: 11 }, itemclick: false, itemdoubleclick: false },
      xaxis: { title: { text: 'ms', standoff: 2 }, range: [0, length], zeroline: false, gridcolor: colours.grid },
      yaxis: { range: [rows.length - 0.5, -0.5], tickvals: rows.map((_, i) => i), ticktext: rows, fixedrange: true, showgrid: false, zeroline: false },
    },
  }
}

/** Memory over the same time, in steps. */
export function staircaseFigure({ lines, places, length }: Staircase): PlotlyFigure {
  return {
    data: lines.map(({ name, role, time, bytes }) => ({
      type: 'scatter', mode: 'lines', name, x: time, y: bytes.map((value) => value / 1e6), line: { shape: 'hv', color: colours[role], width: 1.5 }, fill: 'tozeroy', fillcolor: `${colours[role]}22`,
      customdata: bytes.map((value, i) => `${places[i]}<br>${name}: ${bytesText(value)}`), hovertemplate: '%{customdata}<extra></extra>',
    })),
    layout: {
      ...ground, height: 220, margin: { l: 44, r: 14, t: 6, b: 34 }, hovermode: 'closest', legend: { orientation: 'h', y: -0.2, yanchor: 'top', font: { size: 11 } },
      xaxis: { title: { text: 'ms', standoff: 2 }, range: [0, length], zeroline: false, gridcolor: colours.grid },
      yaxis: { title: { text: 'MB', standoff: 4 }, rangemode: 'tozero', zeroline: false, gridcolor: colours.grid, fixedrange: true },
    },
  }
}
