import type { EvalEvent } from '../../run/events'
import { digits, duration, percent, whole } from '../format'
import { html } from '../html'
import type { TextAndHtml } from '../tables'
import { factsHtml, factsText, frame, gridHtml, gridText, heading, type Cell } from './frame'

const number = (value: number, n = 4): string => Number.isFinite(value) ? digits(value, n) : '–'

/** `−0.214`, with a sign that a reader sees. */
function change(now: number, before: number): string {
  const by = now - before
  if (!Number.isFinite(by)) return '–'
  return by === 0 ? '0' : `${by < 0 ? '−' : '+'}${digits(Math.abs(by), 3)}`
}

/** One evaluation. */
export function evaluationView(e: EvalEvent): TextAndHtml {
  const name = `Evaluation after ${whole(e.atStep)} steps`
  const lead = `loss ${number(e.loss)} on ${whole(e.rows)} held-out rows`
  const facts: [string, Cell][] = [
    ['loss', `${number(e.loss)} nats a token`], ['perplexity', number(e.perplexity)],
    ['accuracy', `${Number.isFinite(e.accuracy) ? percent(e.accuracy) : '–'} of the supervised tokens were the likeliest`],
    ...(e.bleu4 === undefined ? [] : [['BLEU-4', number(e.bleu4)], ['Rouge-1, 2, L', [e.rouge1!, e.rouge2!, e.rougel!].map(number).join(', ')]] as [string, Cell][]), ['took', e.ms < 1000 ? `${whole(e.ms)} ms` : duration(e.ms)],
  ]
  return frame(html`${heading(name, lead)}${factsHtml(facts)}`, [name, lead, '', factsText(facts)])
}

/** Evaluations of one run, oldest first, with what changed from one to the next. */
export function evaluationsView(events: readonly EvalEvent[]): TextAndHtml {
  const first = events[0], last = events[events.length - 1]
  const best = events.reduce((a, b) => b.loss < a.loss ? b : a)
  const name = `${events.length} evaluation${events.length === 1 ? '' : 's'}`
  const lead = events.length === 1 ? `loss ${number(first.loss)}`
    : `loss ${number(first.loss)} → ${number(last.loss)} (${change(last.loss, first.loss)})${best === last ? '' : `, lowest ${number(best.loss)} after ${whole(best.atStep)} steps`}`
  const titles = ['step', 'loss#', 'change#', 'perplexity#', 'accuracy#']
  const rows = events.map((e, i): Cell[] => [whole(e.atStep), { number: `${number(e.loss)}${e === best && events.length > 1 ? ' ★' : ''}` },
    { number: i === 0 ? '' : change(e.loss, events[i - 1].loss) }, { number: number(e.perplexity) }, { number: Number.isFinite(e.accuracy) ? percent(e.accuracy) : '–' }])
  const note = events.length > 1 && '★ lowest loss'
  return frame(html`${heading(name, lead)}${gridHtml(titles, rows)}<small>${note}</small>`, [name, lead, '', gridText(titles, rows), note])
}
