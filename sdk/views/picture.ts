import { colours } from './colours'
import { digits, short } from './format'
import { escapeHtml } from './html'
import type { Plot, PlotLine } from './plots'

interface Box { readonly left: number; readonly top: number; readonly width: number; readonly height: number }

const pictureWidth = 960
/** A picture is a stand-in: fewer points than a chart that one can move over. */
const picturePoints = 300

/** Round steps that cut `[low, high]` into about `count` parts (Heckbert, Graphics Gems 1990: nice numbers). */
export function roundTicks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low]
  const raw = (high - low) / count
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = power * ([1, 2, 5].find((m) => m * power >= raw) ?? 10)
  const first = Math.ceil(low / step)
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)))
}

function label(value: number, plot: Plot): string {
  if (plot.format === 'percent') return `${Math.round(value * 100)}%`
  return Math.abs(value) >= 1000 ? short(value) : String(Number(digits(value, 3)))
}

/** The range of the values, with a little air unless it starts at zero. */
function range({ lines, zero }: Plot): [number, number] {
  let low = zero ? 0 : Infinity
  let high = -Infinity
  for (const { y } of lines) for (const v of y) if (v !== null) { low = Math.min(low, v); high = Math.max(high, v) }
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1]
  if (low === high) return [zero ? low : low - Math.abs(low) * 0.1 - 1e-9, high + Math.abs(high) * 0.1 + 1e-9]
  const air = (high - low) * 0.05
  return [zero ? low : low - air, high + air]
}

/** Every nth point where there are more than the picture can show; extremes are lost that its pixels could not tell apart. */
function thin({ x, y }: PlotLine): [number, number | null][] {
  const every = Math.ceil(x.length / picturePoints)
  return x.map((step, i): [number, number | null] => [step, y[i]]).filter((_, i) => i % every === 0 || i === x.length - 1)
}

function drawLine(line: PlotLine, place: (x: number, y: number) => string): string {
  const runs: string[][] = [[]]
  for (const [x, y] of thin(line)) {
    if (y === null) runs.push([])
    else runs[runs.length - 1].push(place(x, y))
  }
  const strokes = runs.filter((run) => run.length > 1).map((run) =>
    `<polyline fill="none" stroke="${colours[line.role]}" stroke-width="${line.width}" stroke-linejoin="round" points="${run.join(' ')}"/>`)
  const dots = line.dots === 0 ? [] : runs.flat().map((point) => {
    const [x, y] = point.split(',')
    return `<circle cx="${x}" cy="${y}" r="${line.dots / 2}" fill="${colours[line.role]}"/>`
  })
  return strokes.concat(dots).join('')
}

function drawPlot(plot: Plot, box: Box): string {
  const [y0, y1] = range(plot)
  const inner: Box = { left: box.left + 44, top: box.top + 22, width: box.width - 60, height: box.height - 42 }
  const px = (x: number) => inner.left + (plot.to > plot.from ? (x - plot.from) / (plot.to - plot.from) : 0.5) * inner.width
  const py = (y: number) => inner.top + inner.height - ((y - y0) / (y1 - y0)) * inner.height
  const grid = roundTicks(y0, y1, box.height > 200 ? 5 : 3).map((y) =>
    `<line x1="${inner.left}" x2="${inner.left + inner.width}" y1="${py(y).toFixed(1)}" y2="${py(y).toFixed(1)}" stroke="${colours.grid}"/>` +
    `<text x="${inner.left - 6}" y="${(py(y) + 3.5).toFixed(1)}" text-anchor="end">${label(y, plot)}</text>`)
  const steps = roundTicks(plot.from, plot.to, box.width > 500 ? 6 : 3).map((x) =>
    `<text x="${px(x).toFixed(1)}" y="${inner.top + inner.height + 16}" text-anchor="middle">${Math.abs(x) >= 10_000 ? short(x) : Number(digits(x, 4))}</text>`)
  const lines = plot.lines.map((line) => drawLine(line, (x, y) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`))
  const legend = plot.id !== 'loss' ? [] : plot.lines.filter(({ x }) => x.length > 0).map((line, i) =>
    `<text x="${inner.left + 70 + i * 100}" y="${box.top + 12}" fill="${colours[line.role === 'faint' ? 'main' : line.role]}"${line.role === 'faint' ? ' opacity="0.7"' : ''}>${escapeHtml(line.name)}</text>`)
  return `<text x="${box.left + 8}" y="${box.top + 12}">${escapeHtml(plot.title)}</text>${grid.join('')}${steps.join('')}${lines.join('')}${legend.join('')}`
}

/** The charts as one still picture: for saved notebooks whose reader runs no scripts. Plots without points are left out. */
export function pictureOf(plots: readonly Plot[]): string {
  const [first, ...rest] = plots.filter(({ lines }) => lines.some(({ x }) => x.length > 0))
  const columns = 3
  const rows = Math.ceil(rest.length / columns)
  const height = 270 + rows * 140
  const width = pictureWidth / columns
  const parts = [
    ...(first ? [drawPlot(first, { left: 0, top: 0, width: pictureWidth, height: 260 })] : []),
    ...rest.map((plot, i) => drawPlot(plot, { left: (i % columns) * width, top: 275 + Math.floor(i / columns) * 140, width: width - 8, height: 130 })),
  ]
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${pictureWidth} ${height}" width="${pictureWidth}" height="${height}" font-family="system-ui,sans-serif" font-size="11" fill="${colours.text}">${parts.join('')}</svg>`
}
