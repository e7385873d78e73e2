import type { ModelFacts } from '../../inspect/types'
import { short, whole } from '../format'
import { html } from '../html'
import type { TextAndHtml } from '../tables'
import { bytesText, factsHtml, factsText, frame, gridHtml, gridText, heading, meter, notesHtml, notesText, shareText, type Cell } from './frame'

/** What trains of a model, in words: `4.88M of 139M values train (3.5%)`. */
export function trainableText({ trainable }: ModelFacts): string | null {
  if (trainable === null) return null
  if (trainable.method === 'sft') return `all ${short(trainable.parameters)} values train`
  return `${short(trainable.parameters)} of ${short(trainable.of)} values train (${shareText(trainable.share)}, ${trainable.method === 'lora' ? 'LoRA' : 'prefix'})`
}

/** A model: what it is in a line, its sizes, and where its parameters are. */
export function modelView(m: ModelFacts): TextAndHtml {
  const [main] = m.types
  const lead = [m.family, `${m.layers} layers`, `${short(m.parameters)} parameters`, `${main ? `${main.name}, ` : ''}${bytesText(m.bytes)} on disk`].join(' · ')
  const trains = trainableText(m)
  const sizes: [string, Cell][] = [
    ['hidden size', whole(m.hiddenSize)], ['MLP size', whole(m.intermediateSize)],
    ['attention', `${m.heads} heads of ${m.headDim}${m.kvHeads === m.heads ? '' : `, ${m.kvHeads} key/value ${m.kvHeads === 1 ? 'head' : 'heads'}`}`],
    ['vocabulary', `${whole(m.vocabSize)} tokens`], ['context', `${whole(m.contextLength)} tokens`],
    ['head', m.tiedHead ? 'tied to the embedding' : 'its own matrix'],
    ['stored as', m.types.map((type) => m.types.length === 1 ? type.name : `${type.name} (${shareText(type.parameters / m.types.reduce((sum, t) => sum + t.parameters, 0))})`).join(', ')],
    ['path', m.path],
  ]
  const titles = ['part', 'parameters#', 'share#', '']
  const total = m.parameters
  const parts = m.parts.filter((part) => part.parameters > 0).map((part): Cell[] =>
    [part.name, { number: whole(part.parameters) }, { number: shareText(part.parameters / total) }, meter(part.parameters / total)])
  parts.push(['in all', { number: whole(total) }, '', ''])
  return frame(
    html`${heading(m.name, html`${lead}${trains && html` · <b>${trains}</b>`}`)}${notesHtml(m.warnings)}<div class="fettle-columns"><div>${factsHtml(sizes)}</div><div>${gridHtml(titles, parts)}</div></div>`,
    [m.name, lead, trains, notesText(m.warnings), '', factsText(sizes), '', gridText(titles, parts)],
  )
}
