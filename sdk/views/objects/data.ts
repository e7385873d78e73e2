import type { DataFacts, ShownRow } from '../../inspect/types'
import { colours } from '../colours'
import { percent, short, whole } from '../format'
import { html } from '../html'
import type { TextAndHtml } from '../tables'
import { factsHtml, factsText, frame, heading, notesHtml, notesText, shareText, type Cell } from './frame'
import { histogramHtml, histogramText } from './histogram'
import { legendHtml, legendText, rowsHtml, rowsText } from './rows'

/** A data set in a line: `4,000 rows · 121k tokens, 40.2k supervised (33.1%)`. */
export function dataLead(d: DataFacts): string {
  return `${whole(d.count)} rows${d.packs === null ? '' : ` in ${whole(d.packs)} packs`} · ${short(d.tokens)} tokens, ${short(d.supervised)} supervised (${shareText(d.supervised / d.tokens)})`
}

/** What packing saves, in words. */
export function savedText({ padding: p }: DataFacts): string {
  return `${percent(p.saved)} of the positions that batches of ${p.batch} padded to their longest row would compute`
}

/** A data set as training sees it: numbers, lengths, first rows. */
export function dataView(d: DataFacts, rows: readonly ShownRow[]): TextAndHtml {
  const name = `${d.path} (${d.split})`
  const lead = dataLead(d)
  const p = d.padding
  const facts: [string, Cell][] = [
    ['packing saves', savedText(d)],
    ['', `${percent(p.savedOfMaxLength)} of those of rows padded to maxLength ${whole(d.maxLength)}`],
    ['an epoch', `${whole(p.packed)} positions packed, ${whole(p.toLongest)} padded`],
    ['cut', d.truncated === 0 ? `no row (source up to ${whole(d.srcLength)}, row up to ${whole(d.maxLength)} tokens)` : `${whole(d.truncated)} row${d.truncated === 1 ? '' : 's'} (${shareText(d.truncated / d.count)}), to source ${whole(d.srcLength)} and row ${whole(d.maxLength)} tokens`],
    ['made by', `${d.model}, ${d.template === 'chat' ? 'chat template' : 'plain source + target'}`],
    ['files', d.sources.length <= 3 ? d.sources.join(', ') : `${whole(d.sources.length)} files, first ${d.sources[0]}`],
  ]
  const notes = d.notes.map(({ message }) => message)
  const { source, target, total } = d.lengths
  return frame(
    html`${heading(name, lead)}${notesHtml(notes)}<div class="fettle-columns fettle-lengths">${histogramHtml('source, tokens read only', source, colours.text)}${histogramHtml('target, supervised tokens', target)}${histogramHtml('whole rows', total, colours.third)}</div>${factsHtml(facts)}${rows.length > 0 && html`${legendHtml}${rowsHtml(rows)}`}`,
    [name, lead, notesText(notes), '', histogramText('source', source), histogramText('target', target), histogramText('total', total), '', factsText(facts),
      rows.length > 0 && `\nfirst rows; ${legendText}`, rows.length > 0 && rowsText(rows)],
  )
}
