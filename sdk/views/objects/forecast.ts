import type { ForecastFacts, MemoryParts, TimeParts } from '../../estimate/types'
import { meshName } from '../../parallel/mesh/shape'
import { digits, duration, gib, percent, short, whole } from '../format'
import { html, type Html } from '../html'
import type { TextAndHtml } from '../tables'
import { bytesText, factsHtml, factsText, frame, gridHtml, gridText, heading, notesHtml, notesText, type Cell } from './frame'

/** Names and colours of memory's parts, in the order that they lie on each other; apart for the colour-blind by tone. */
const memoryParts: readonly (readonly [Exclude<keyof MemoryParts, 'total'>, string, string])[] = [
  ['process', 'process', '#717880'], ['weights', 'weights', '#1f4e79'], ['gradients', 'gradients', '#3f83c9'], ['optimizer', 'optimizer', '#8fbbe6'], ['activations', 'activations', '#d9792b'],
  ['workspace', 'workspace', '#eab37f'], ['head', 'head panels', '#3d9a78'], ['messages', 'messages', '#9c6fb5'], ['saving', 'saving', '#b9a25c'],
]
const timeParts: readonly (readonly [Exclude<keyof TimeParts, 'total'>, string, string])[] = [
  ['embed', 'embedding', '#717880'], ['forward', 'forward', '#1f4e79'], ['backward', 'backward', '#3f83c9'], ['head', 'head and loss', '#3d9a78'], ['update', 'update', '#8fbbe6'], ['messages', 'messages', '#9c6fb5'], ['waiting', 'waiting', '#eab37f'],
]
/** Candidates that are shown. */
const shownCandidates = 12

const secondsText = (s: number): string => (s < 1 ? `${digits(s * 1000, 3)} ms` : s < 120 ? `${digits(s, 3)} s` : duration(s * 1000))

/** Parts of one sum as a bar, to `most`; with a mark where `limit` stands. */
function stack(title: string, parts: readonly (readonly [string, number, string])[], most: number, limit: number | null): Html {
  let at = 0
  const rects = parts.filter(([, value]) => value > 0).map(([name, value, colour]) => {
    const x = at / most * 300, width = value / most * 300
    at += value
    return html`<rect x="${x.toFixed(2)}" y="0" width="${Math.max(0.3, width).toFixed(2)}" height="20" fill="${colour}"><title>${name}</title></rect>`
  })
  const mark = limit !== null && limit <= most && html`<line x1="${(limit / most * 300).toFixed(2)}" x2="${(limit / most * 300).toFixed(2)}" y1="0" y2="20" stroke="currentColor" stroke-width="2" stroke-dasharray="3 2" vector-effect="non-scaling-stroke"/>`
  return html`<svg viewBox="0 0 300 20" preserveAspectRatio="none" role="img" style="height:22px"><title>${title}</title>${rects}${mark}</svg>`
}

function legend(parts: readonly (readonly [string, string, string])[]): Html {
  return html`<div class="fettle-axis" style="flex-wrap:wrap;justify-content:flex-start;gap:2px 14px">${parts.map(([name, value, colour]) => html`<span><span style="display:inline-block;width:9px;height:9px;border-radius:2px;background:${colour};margin-right:5px"></span>${name} <b style="color:var(--ink);font-weight:500">${value}</b></span>`)}</div>`
}

function memoryHtml({ memory, free, measured, plan }: ForecastFacts): Html {
  const most = Math.max(...memory.map(({ total }) => total)) * 1.02
  return html`<figure>${memory.map((parts, stage) => {
    const shown = memoryParts.filter(([key]) => parts[key] > 0)
    const name = `${memory.length > 1 ? `Stage ${stage}: ` : ''}${gib(parts.total)} at the peak of a rank`
    return html`<figcaption>${name}${stage === 0 && `; ${gib(free)} ${measured ? 'are free' : 'can be used'}${meshName(plan.mesh) !== '' && measured ? ' for all ranks' : ''}`}</figcaption>${stack(name, shown.map(([key, title, colour]) => [`${title} ${bytesText(parts[key])}`, parts[key], colour] as const), most, free)}${legend(shown.map(([key, title, colour]) => [title, bytesText(parts[key]), colour] as const))}`
  })}</figure>`
}

function timeHtml({ time }: ForecastFacts): Html {
  const shown = timeParts.filter(([key]) => time[key] > 0), name = `${secondsText(time.total)} a step`
  return html`<figure><figcaption>${name}</figcaption>${stack(name, shown.map(([key, title, colour]) => [`${title} ${secondsText(time[key])}`, time[key], colour] as const), time.total, null)}${legend(shown.map(([key, title, colour]) => [title, `${secondsText(time[key])}, ${percent(time[key] / time.total)}`, colour] as const))}</figure>`
}

const titles = ['way', 'rank memory#', 'a step#', 'why']

function candidateRows({ candidates }: ForecastFacts): Cell[][] {
  return candidates.slice(0, shownCandidates).map(({ calls, memory, seconds, reason }) => [calls, { number: gib(memory) }, { number: secondsText(seconds) }, reason])
}

/** A forecast: memory on memory, time beside time, and all that was tried with the reason for each. */
export function forecastView(f: ForecastFacts): TextAndHtml {
  const title = `${f.plan.model} on ${f.device}`, mesh = meshName(f.plan.mesh)
  const lead = [f.fits ? 'fits as it stands' : 'does not fit as it stands', `${secondsText(f.time.total)} a step`, `${whole(f.tokensPerSecond)} tokens/s`, `${secondsText(f.seconds)} in all`].join(' · ')
  const facts: [string, Cell][] = [
    ['steps', `${whole(f.steps)} of about ${short(f.tokens)} tokens`], ['checkpoint', `${bytesText(f.checkpoint)} each, to resume from`], ['blocks', `${f.form}, ${f.plan.precision}`],
    ['ranks', mesh === '' ? 'one' : mesh], ['figures', f.measured ? 'from steps of four layers, measured on this machine' : 'from the data sheet, not measured'],
  ]
  const rows = candidateRows(f), more = f.candidates.length > shownCandidates ? `and ${f.candidates.length - shownCandidates} more, slower or larger` : null
  const memoryText = f.memory.flatMap((parts, stage) => [`${f.memory.length > 1 ? `stage ${stage}: ` : ''}memory of a rank ${gib(parts.total)}, ${gib(f.free)} free`, factsText(memoryParts.filter(([key]) => parts[key] > 0).map(([key, name]) => [name, `${bytesText(parts[key]).padStart(8)}  ${'█'.repeat(Math.round(parts[key] / parts.total * 40))}`])).replace(/^/gm, '  ')])
  const timeText = factsText(timeParts.filter(([key]) => f.time[key] > 0).map(([key, name]) => [name, `${secondsText(f.time[key]).padStart(8)}  ${'█'.repeat(Math.round(f.time[key] / f.time.total * 40))}`])).replace(/^/gm, '  ')
  return frame(
    html`${heading(title, lead)}${notesHtml(f.notes)}${memoryHtml(f)}${timeHtml(f)}${factsHtml(facts)}${rows.length > 0 && gridHtml(titles, rows, 'Ways to run the same steps; .fit() takes the first')}${more !== null && html`<small>${more}</small>`}`,
    [title, lead, notesText(f.notes), '', ...memoryText, '', `a step ${secondsText(f.time.total)}`, timeText, '', factsText(facts), rows.length > 0 && '', rows.length > 0 && gridText(titles, rows), more],
  )
}
