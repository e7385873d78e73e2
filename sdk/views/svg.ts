import { digits, short } from './format'
import { colours, type Figure, type Trace } from './figure'
import { escapeHtml } from './html'
import { downsample } from './series'

interface Box { readonly left: number; readonly top: number; readonly width: number; readonly height: number }

const pictureWidth = 960
/** A picture is a stand-in: fewer points than a chart that one can move over. */
const picturePoints = 240

/** Round steps that cut `[low, high]` into about `count` parts (Heckbert, Graphics Gems 1990: nice numbers). */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low]
  const raw = (high - low) / count
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = power * ([1, 2, 5].find((m) => m * power >= raw) ?? 10)
  const first = Math.ceil(low / step)
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)))
}

function label(value: number, figure: Figure): string {
  const { tickformat } = figure.layout.yaxis as { tickformat?: string }
  if (tickformat === '.0%') return `${Math.round(value * 100)}%`
  return Math.abs(value) >= 1000 ? short(value) : String(Number(digits(value, 3)))
}

/** The range of finite values over all traces, with a little air unless it starts at zero. */
function range(values: readonly (number | null)[], zero: boolean): [number, number] {
  let low = zero ? 0 : Infinity
  let high = -Infinity
  for (const v of values) if (v !== null) { low = Math.min(low, v); high = Math.max(high, v) }
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1]
  if (low === high) return [low - (zero ? 0 : Math.abs(low) * 0.1 + 1e-9), high + Math.abs(high) * 0.1 + 1e-9]
  const air = (high - low) * 0.05
  return [zero ? low : low - air, high + air]
}

function drawTrace(trace: Trace, place: (x: number, y: number) => string): string {
  const points = downsample({ x: trace.x, y: trace.y.map((v) => v ?? NaN) }, picturePoints)
  const runs: string[][] = [[]]
  points.x.forEach((x, i) => Number.isFinite(points.y[i]) ? runs.at(-1)?.push(place(x, points.y[i])) : runs.push([]))
  const lines = runs.filter((run) => run.length > 0).map((run) =>
    `<polyline fill="none" stroke="${trace.line?.color ?? colours.main}" stroke-width="${trace.line?.width ?? 1.5}" stroke-linejoin="round" points="${run.join(' ')}"/>`)
  const dots = !trace.marker ? [] : runs.flat().map((point) => {
    const [x, y] = point.split(',')
    return `<circle cx="${x}" cy="${y}" r="${(trace.marker?.size ?? 5) / 2}" fill="${trace.marker?.color}"/>`
  })
  return lines.concat(dots).join('')
}

function drawFigure(figure: Figure, box: Box): string {
  const ys = figure.data.flatMap((trace) => trace.y)
  const xs = figure.data.flatMap((trace) => trace.x)
  const { rangemode } = figure.layout.yaxis as { rangemode?: string }
  const [x0, x1] = [Math.min(...xs.slice(0, 1), ...figure.data.map((t) => t.x[0] ?? Infinity)), Math.max(...figure.data.map((t) => t.x.at(-1) ?? -Infinity))]
  const [y0, y1] = range(ys, rangemode === 'tozero')
  const inner: Box = { left: box.left + 44, top: box.top + 20, width: box.width - 60, height: box.height - 40 }
  const px = (x: number) => inner.left + (x1 > x0 ? (x - x0) / (x1 - x0) : 0.5) * inner.width
  const py = (y: number) => inner.top + inner.height - ((y - y0) / (y1 - y0)) * inner.height
  const grid = ticks(y0, y1, 4).map((y) =>
    `<line x1="${inner.left}" x2="${inner.left + inner.width}" y1="${py(y).toFixed(1)}" y2="${py(y).toFixed(1)}" stroke="${colours.grid}"/>` +
    `<text x="${inner.left - 6}" y="${(py(y) + 3.5).toFixed(1)}" text-anchor="end">${label(y, figure)}</text>`)
  const steps = ticks(x0, x1, box.width > 500 ? 6 : 3).map((x) =>
    `<text x="${px(x).toFixed(1)}" y="${inner.top + inner.height + 15}" text-anchor="middle">${label(x, { ...figure, layout: { yaxis: {} } })}</text>`)
  const traces = figure.data.map((trace) => drawTrace(trace, (x, y) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`))
  const named = figure.data.filter((trace) => trace.showlegend)
  const legend = named.map((trace, i) => `<text x="${inner.left + 70 + i * 120}" y="${box.top + 12}" fill="${trace.line?.color ?? colours.text}">${escapeHtml(trace.name)}</text>`)
  return `<text x="${inner.left}" y="${box.top + 12}">${escapeHtml(figure.title)}</text>${grid.join('')}${steps.join('')}${traces.join('')}${legend.join('')}`
}

/** The charts as one still picture: for saved notebooks whose reader runs no scripts, and for web pages about a run. */
export function svgOf(figures: readonly Figure[]): string {
  const [first, ...rest] = figures
  const columns = Math.max(1, Math.min(rest.length, 5))
  const height = 280 + (rest.length > 0 ? 140 : 0)
  const width = pictureWidth / columns
  const parts = [
    ...(first ? [drawFigure(first, { left: 0, top: 0, width: pictureWidth, height: 270 })] : []),
    ...rest.slice(0, columns).map((figure, i) => drawFigure(figure, { left: i * width, top: 285, width: width - 8, height: 130 })),
  ]
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${pictureWidth} ${height}" width="${pictureWidth}" height="${height}" font-family="system-ui,sans-serif" font-size="11" fill="${colours.text}">${parts.join('')}</svg>`
}
