import type { LengthHistogram } from '../../inspect/types'
import { digits, whole } from '../format'
import { html, type Html } from '../html'
import { colours } from '../colours'

/* The picture has no text but its title and description: where markup of pictures is taken out (a notebook that is not
 * trusted), these two stay and read well; all labels are outside. It stretches with its column, so that bars fit any width. */
const width = 300, height = 60

const tokens = (n: number): string => `${whole(n)} token${n === 1 ? '' : 's'}`

/** In words, for those who see no picture. */
function lengthsText({ min, median, p95, max, mean }: LengthHistogram): string {
  return min === max ? `Every row has ${tokens(max)}.` : `${whole(min)} to ${tokens(max)} a row, median ${whole(median)}, mean ${digits(mean, 3)}, 95% at most ${whole(p95)}.`
}

/** Rows by length as bars, with the median marked. */
export function histogramHtml(name: string, histogram: LengthHistogram, colour: string = colours.main): Html {
  const { bins, median, min, max } = histogram
  const most = Math.max(...bins.map(({ rows }) => rows))
  const from = bins[0].from, to = bins[bins.length - 1].to
  const x = (length: number): number => ((length - from) / (to - from)) * width
  const bars = bins.filter(({ rows }) => rows > 0).map((bin) => {
    // A bin of one row among thousands must still be seen.
    const size = Math.max(1.5, (bin.rows / most) * (height - 4))
    return html`<rect x="${x(bin.from).toFixed(1)}" y="${(height - size).toFixed(1)}" width="${Math.max(1, x(bin.to) - x(bin.from) - 1).toFixed(1)}" height="${size.toFixed(1)}" fill="${colour}"/>`
  })
  const at = x(median + 0.5).toFixed(1)
  return html`<figure><figcaption>${name}</figcaption><svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img"><title>Length of ${name}. </title><desc>${lengthsText(histogram)}</desc>${bars}<line x1="${at}" x2="${at}" y1="0" y2="${height}" stroke="currentColor" stroke-dasharray="3 2" vector-effect="non-scaling-stroke"/></svg><div class="fettle-axis"><span>${whole(min)}</span> <span>┊ median ${whole(median)}</span> <span>${tokens(max)}</span></div></figure>`
}

const blocks = ' ▁▂▃▄▅▆▇█'

/** The same in one line of a terminal. */
export function histogramText(name: string, histogram: LengthHistogram, nameWidth = 6): string {
  const most = Math.max(...histogram.bins.map(({ rows }) => rows))
  const bars = histogram.bins.map(({ rows }) => rows === 0 ? ' ' : blocks[Math.max(1, Math.round((rows / most) * 8))]).join('')
  return `${name.padEnd(nameWidth)}  ${whole(histogram.min)} ▕${bars}▏ ${whole(histogram.max)} tokens, median ${whole(histogram.median)}`
}
