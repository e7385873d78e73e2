import type { AdapterFacts } from '../../inspect/types'
import { digits, short, whole } from '../format'
import { html } from '../html'
import type { TextAndHtml } from '../tables'
import { bytesText, factsHtml, factsText, frame, heading, type Cell } from './frame'

/** An adapter: on what, how large, and how far trained. */
export function adapterView(a: AdapterFacts): TextAndHtml {
  const name = `${a.kind} on ${a.base ?? 'an unnamed model'}`
  if (a.rank === null || a.alpha === null) return prefixView(a)
  const lead = [`rank ${a.rank}`, `alpha ${a.alpha}`, `${short(a.parameters)} parameters`, bytesText(a.bytes), ...(a.steps === null ? [] : [`after ${whole(a.steps)} steps`])].join(' · ')
  const facts: [string, Cell][] = [
    ['changes', `${a.targets.join(', ')}`], ['modules', `${whole(a.modules)} in ${a.layers} layer${a.layers === 1 ? '' : 's'}`], ['parameters', whole(a.parameters)],
    ['scale', `${digits(a.alpha / (a.kind === 'rsLoRA' ? Math.sqrt(a.rank) : a.rank), 3)} (alpha / ${a.kind === 'rsLoRA' ? '√rank' : 'rank'})`],
    ['dropout', String(a.dropout)], ['path', a.path],
  ]
  return frame(html`${heading(name, lead)}${factsHtml(facts)}`, [name, lead, '', factsText(facts)])
}

function prefixView(a: AdapterFacts): TextAndHtml {
  const name = `Prefix on ${a.base ?? 'an unnamed model'}`
  const lead = [`${whole(a.tokens ?? 0)} tokens`, `${short(a.parameters)} parameters`, bytesText(a.bytes), ...(a.steps === null ? [] : [`after ${whole(a.steps)} steps`])].join(' · ')
  const facts: [string, Cell][] = [['puts', 'keys and values before each row'], ['in', `${a.layers} layer${a.layers === 1 ? '' : 's'}`], ['parameters', whole(a.parameters)], ['path', a.path]]
  return frame(html`${heading(name, lead)}${factsHtml(facts)}`, [name, lead, '', factsText(facts)])
}
