import type { LengthHistogram } from '../../inspect/types'
import { digits, whole } from '../format'
import { html, type Html } from '../html'
import { colours } from '../colours'

const width = 300, height = 92, left = 2, right = 2, top = 16, base = 72

const tokens = (n: number): string => `${whole(n)} token${n === 1 ? '' : 's'}`

/** In words, for those who see no picture. */
export function lengthsText(name: string, { min, median, p95, max, mean }: LengthHistogram): string {
  return min === max ? `${name}: every row has ${tokens(max)}` : `${name}: ${whole(min)} to ${tokens(max)} a row, median ${whole(median)}, mean ${digits(mean, 3)}, 95% at most ${whole(p95)}`
}

/** Rows by length as bars, with the median marked. */
export function histogramHtml(name: string, histogram: LengthHistogram, colour: string = colours.main): Html {
  const { bins, median, min, max } = histogram
  const most = Math.max(...bins.map(({ rows }) => rows))
  const from = bins[0].from, to = bins[bins.length - 1].to
  const x = (length: number): number => left + ((length - from) / (to - from)) * (width - left - right)
  const bars = bins.filter(({ rows }) => rows > 0).map((bin) => {
    // A bin of one row among thousands must still be seen.
    const size = Math.max(1.5, (bin.rows / most) * (base - top))
    const wide = Math.max(1, x(bin.to) - x(bin.from) - 1)
    return html`<rect x="${x(bin.from).toFixed(1)}" y="${(base - size).toFixed(1)}" width="${wide.toFixed(1)}" height="${size.toFixed(1)}" fill="${colour}"><title>${bin.to - bin.from === 1 ? whole(bin.from) : `${whole(bin.from)} to ${whole(bin.to - 1)}`} tokens: ${whole(bin.rows)} rows</title></rect>`
  })
  const at = x(median + 0.5)
  const anchor = at > width - 60 ? 'end' : at < 60 ? 'start' : 'middle'
  const text = (place: number, y: number, content: string, side: string): Html => html`<text x="${place.toFixed(1)}" y="${y}" text-anchor="${side}">${content}</text>`
  return html`<figure><figcaption>${name}</figcaption><svg viewBox="0 0 ${width} ${height}" role="img" fill="currentColor" font-size="11" font-family="inherit"><title>Length of ${name}</title><desc>${lengthsText(name, histogram)}</desc><line x1="${left}" x2="${width - right}" y1="${base + 0.5}" y2="${base + 0.5}" stroke="${colours.grid}"/>${bars}<line x1="${at.toFixed(1)}" x2="${at.toFixed(1)}" y1="${top - 2}" y2="${base}" stroke="currentColor" stroke-dasharray="2 2"/>${
    text(at, top - 5, `median ${whole(median)}`, anchor)}${text(left, height - 6, whole(min), 'start')}${max > min && text(width - right, height - 6, tokens(max), 'end')}</svg></figure>`
}

const blocks = ' ▁▂▃▄▅▆▇█'

/** The same in one line of a terminal. */
export function histogramText(name: string, histogram: LengthHistogram, nameWidth = 6): string {
  const most = Math.max(...histogram.bins.map(({ rows }) => rows))
  const bars = histogram.bins.map(({ rows }) => rows === 0 ? ' ' : blocks[Math.max(1, Math.round((rows / most) * 8))]).join('')
  return `${name.padEnd(nameWidth)}  ${whole(histogram.min)} ▕${bars}▏ ${whole(histogram.max)} tokens, median ${whole(histogram.median)}`
}
