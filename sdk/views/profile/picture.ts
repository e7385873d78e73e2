import type { MemoryPart } from '../../profile/types'
import { colours } from '../colours'
import { digits, percent, whole } from '../format'
import { html, Html } from '../html'
import { bytesText } from '../objects/frame'
import { roundTicks } from '../picture'
import { flameColours, isStrong } from './colours'
import { legend, type Flame, type FlameBox } from './flame'
import type { Staircase } from './staircase'

const width = 960, left = 46, right = 12, rowHeight = 22
const inner = width - left - right
/** Boxes that are narrower would be a veil, not a picture. */
const thinnest = 0.4
/** Width of a letter, in the usual size and in the one of what is narrow. */
const letter = 6.1, smallLetter = 5.2

interface Place { readonly x: number; readonly y: number; readonly width: number }

function svg(height: number, title: string, parts: readonly Html[]): Html {
  return html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="100%" style="min-width:700px;max-width:${width}px;height:auto;display:block" font-family="inherit" font-size="11" fill="${colours.text}" role="img"><title>${title}</title>${parts}</svg>`
}

function box({ row, start, ms, label, colour, hover }: FlameBox, length: number, { x, y, width: room }: Place): Html | null {
  const from = x + (start / length) * room, size = (ms / length) * room
  if (size < thinnest) return null
  const top = y + row * rowHeight, fits = label.length * letter + 4 <= size, small = !fits && label.length * smallLetter + 1 <= size
  return html`<g><title>${hover.join('\n')}</title><rect x="${from.toFixed(2)}" y="${top}" width="${Math.max(thinnest, size - (size > 3 ? 0.6 : 0)).toFixed(2)}" height="${rowHeight - 2}" fill="${flameColours[colour]}"/>${
    (fits || small) && html`<text x="${(from + size / 2).toFixed(1)}" y="${top + 14}" text-anchor="middle"${small && new Html(' font-size="9"')}${isStrong(colour) && new Html(' fill="#ffffff"')}>${label}</text>`}</g>`
}

function boxes(flame: Flame, place: Place): Html[] { return flame.boxes.flatMap((each) => box(each, flame.length, place) ?? []) }

function axis(length: number, y: number, { x, width: room }: Pick<Place, 'x' | 'width'>, count: number): Html[] {
  return roundTicks(0, length, count).map((ms) => html`<text x="${(x + (ms / length) * room).toFixed(1)}" y="${y}" text-anchor="middle">${length >= 10 ? whole(ms) : Number(digits(ms, 3))}${ms === 0 ? ' ms' : ''}</text>`)
}

/** Names of the colours that are there, in as many lines as they need. */
function legendHtml(flame: Flame, y: number): { readonly parts: Html[]; readonly height: number } {
  const present = new Set(flame.boxes.map(({ colour }) => colour))
  let x = left, line = 0
  const parts = legend.filter(([colour]) => present.has(colour)).map(([colour, text]) => {
    const room = 14 + text.length * letter + 14
    if (x + room > width) { x = left; line++ }
    const part = html`<rect x="${x.toFixed(1)}" y="${y - 9 + line * 16}" width="10" height="10" rx="2" fill="${flameColours[colour]}"/><text x="${(x + 14).toFixed(1)}" y="${y + line * 16}">${text}</text>`
    x += room
    return part
  })
  return { parts, height: (line + 1) * 16 }
}

function rowNames(labels: readonly string[], y: number): Html[] { return labels.map((name, row) => html`<text x="${left - 6}" y="${y + row * rowHeight + 14}" text-anchor="end">${name}</text>`) }

/** A step as a still flame chart. */
export function flamePicture(flame: Flame): Html {
  const top = 6, rows = flame.rows.length * rowHeight, names = legendHtml(flame, top + rows + 34)
  return svg(top + rows + 26 + names.height, flame.title, [...rowNames(flame.rows, top), ...boxes(flame, { x: left, y: top, width: inner }), ...axis(flame.length, top + rows + 14, { x: left, width: inner }, 8), ...names.parts])
}

/** Stretches of one layer beside each other on one scale: what a whole step is too long to name. */
export function layersPicture(layers: readonly Flame[]): Html {
  const top = 24, gap = 14, room = inner - gap * (layers.length - 1), all = layers.reduce((sum, { length }) => sum + length, 0)
  let x = left
  const strips = layers.flatMap((layer) => {
    const place = { x, y: top, width: (layer.length / all) * room }
    x += place.width + gap
    return [html`<text x="${place.x.toFixed(1)}" y="14" font-weight="600">${layer.title}</text>`, ...boxes(layer, place)]
  })
  return svg(top + 2 * rowHeight + 6, layers.map(({ title }) => title).join('; '), [...rowNames(layers[0]?.rows ?? [], top), ...strips])
}

/** The staircase of memory under the same time axis. */
export function staircasePicture({ lines, length }: Staircase): Html {
  const top = 24, height = 140, most = Math.max(...lines.flatMap(({ bytes }) => bytes), 1) * 1.05
  const px = (ms: number): number => left + (ms / length) * inner, py = (bytes: number): number => top + height - (bytes / most) * height
  const grid = roundTicks(0, most / 1e6, 4).map((mb) => html`<line x1="${left}" x2="${left + inner}" y1="${py(mb * 1e6).toFixed(1)}" y2="${py(mb * 1e6).toFixed(1)}" stroke="${colours.grid}"/><text x="${left - 6}" y="${(py(mb * 1e6) + 3.5).toFixed(1)}" text-anchor="end">${whole(mb)}</text>`)
  const stairs = lines.map(({ role, time, bytes }) => {
    const points = time.flatMap((ms, i) => [...(i === 0 ? [] : [`${px(ms).toFixed(1)},${py(bytes[i - 1]).toFixed(1)}`]), `${px(ms).toFixed(1)},${py(bytes[i]).toFixed(1)}`])
    return html`<polygon points="${`${px(time[0] ?? 0).toFixed(1)},${top + height} ${points.join(' ')} ${px(time.at(-1) ?? 0).toFixed(1)},${top + height}`}" fill="${colours[role]}" opacity="0.13"/><polyline points="${points.join(' ')}" fill="none" stroke="${colours[role]}" stroke-width="1.5"/>`
  })
  const keys = lines.map(({ name, role }, i) => html`<rect x="${left + 130 + i * 190}" y="9" width="12" height="2" fill="${colours[role]}"/><text x="${left + 147 + i * 190}" y="14" fill="${colours[role]}">${name}</text>`)
  return svg(top + height + 20, 'Memory over the step', [html`<text x="${left}" y="14" font-weight="600">Memory, MB</text>`, ...keys, ...grid, ...stairs, ...axis(length, top + height + 14, { x: left, width: inner }, 8)])
}

const partColours = ['#7d8790', colours.main, '#7fb0de', '#c9a227', '#a8744f', colours.second, colours.third, '#c2504a', 'rgba(128,128,128,0.36)']
const partNames: readonly MemoryPart['name'][] = ['library and runtime', 'weights', 'packed weights', 'gradients', 'optimizer moments', 'activations', 'workspace', 'head panel', 'rest']

/** Peak memory as one bar, cut into its parts. */
export function partsPicture(parts: readonly MemoryPart[]): Html {
  const peak = parts.reduce((sum, { bytes }) => sum + bytes, 0)
  let x = left, line = left, row = 0
  const pieces = parts.map(({ name, bytes }) => {
    const size = (bytes / peak) * inner, colour = partColours[partNames.indexOf(name)], text = `${name} ${bytesText(bytes)} (${percent(bytes / peak)})`, room = 14 + text.length * 5.9 + 18
    if (line + room > width - right) { line = left; row++ }
    const part = html`<g><title>${text}</title><rect x="${x.toFixed(2)}" y="22" width="${Math.max(0.5, size - 0.6).toFixed(2)}" height="20" fill="${colour}"/></g><rect x="${line.toFixed(1)}" y="${51 + row * 18}" width="10" height="10" rx="2" fill="${colour}"/><text x="${(line + 14).toFixed(1)}" y="${60 + row * 18}">${text}</text>`
    x += size
    line += room
    return part
  })
  return svg(70 + row * 18, 'Peak memory by part', [html`<text x="${left}" y="14" font-weight="600">Peak memory ${bytesText(peak)}</text>`, ...pieces])
}
