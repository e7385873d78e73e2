import { whole } from './format'
import { figureNames, figureTexts, outcome, pathInRun, sentence, shareOf, stageText, statusWords } from './figures'
import { html, type Html } from './html'
import { pictureOf } from './picture'
import { plotsOf } from './plots'
import type { BoardData, BoardSamples, BoardState } from './state'
import { textTable } from './tables'

/* The board as markup that needs no script, in the panel's own classes: where scripts run, the panel takes its place and
 * nothing moves; where they do not, this stays. */

/** Names and sides of the samples' columns that have something to say. */
function columnsOf({ prompts, at }: BoardSamples): [string, string, (row: number) => string][] {
  const [untouched, last] = [at.find((sampling) => sampling.untouched), at.at(-1)]
  const columns: [string, string, (row: number) => string][] = [['prompt', 'Prompt', (row) => prompts[row].prompt]]
  if (untouched) columns.push(['untouched', 'Untouched', (row) => untouched.answers[row] ?? ''])
  if (last && last !== untouched) columns.push(['answer', `Tuned, step ${whole(last.step)}`, (row) => last.answers[row] ?? ''])
  if (prompts.some(({ reference }) => reference !== null)) columns.push(['reference', 'Reference', (row) => prompts[row].reference ?? ''])
  return columns
}

function samplesHtml(samples: BoardSamples): Html | null {
  if (samples.at.length === 0) return null
  const columns = columnsOf(samples)
  return html`<section class="fb-sample-section"><h4>Samples</h4><table class="fb-samples"><thead><tr>${columns.map(([, title]) => html`<th scope="col" style="text-align:left">${title}</th>`)}</tr></thead><tbody>${
    samples.prompts.map((_, row) => html`<tr>${columns.map(([name, title, text]) => html`<td style="text-align:left" data-label="${title}" data-column="${name}"><div class="fb-text fb-open" dir="auto">${text(row).trim()}</div></td>`)}</tr>`)}</tbody></table></section>`
}

function headerHtml(state: BoardState): Html {
  const { status, title, about, error } = state
  const texts = figureTexts(state)
  const share = shareOf(state) ?? 0
  return html`<div class="fb-header"><div class="fb-line"><b class="fb-status" data-status="${status}">${statusWords[status]}</b> <span class="fb-title" dir="auto">${title}</span> <span class="fb-about" dir="auto">${about}</span> <span class="fb-stage">${stageText(state)}</span></div>
<div class="fb-bar" data-status="${status}" role="progressbar" aria-label="Progress of the run" aria-valuemin="0" aria-valuemax="100" aria-valuenow="${Math.round(share * 100)}" aria-valuetext="${sentence(state)}"><i style="width:${(share * 100).toFixed(1)}%"></i></div>
<dl class="fb-figures">${figureNames.map((name) => html`<div><dt>${name}</dt><dd>${texts[name]}</dd></div>`)}</dl>${
  error && html`<div class="fb-error"><b>${error.name}</b> <span dir="auto">${error.message}</span></div>`}</div>`
}

function notesHtml({ dir, warnings, saved, commands }: BoardState): Html {
  const list = (title: string, kind: string, items: readonly Html[]) => items.length > 0 && html`<section class="fb-note fb-note-${kind}"><h4>${title}</h4><ul>${items}</ul></section>`
  return html`<div class="fb-notes">${[
    list('Warnings', 'warnings', warnings.map(({ message, step, count }) => html`<li><span dir="auto">${message}</span>${step !== null && html` <small>step ${whole(step)}</small>`}${count > 1 && html` <small>${whole(count)} times</small>`}</li>`)),
    list('Saved', 'saved', saved.slice(-4).reverse().map(({ step, path, final }) => html`<li><span class="fb-path" dir="auto">${pathInRun(path, dir)}</span> <small>${final ? 'final weights' : `step ${whole(step)}`}</small></li>`)),
    list('Commands', 'commands', [...commands].reverse().map((text) => html`<li dir="auto">${text}</li>`)),
  ]}</div>`
}

/** The board as markup without scripts. `picture`: with a still picture of the charts. */
export function stillHtml({ state, samples }: BoardData, { picture }: { readonly picture: boolean }): Html {
  const plots = plotsOf(state)
  const drawn = picture && state.series.step.length > 0
  const image = drawn && html`<div class="fb-still"><img alt="${plots.filter(({ lines }) => lines.some(({ x }) => x.length > 0)).map(({ title }) => title).join(', ')}" src="data:image/svg+xml;base64,${Buffer.from(pictureOf(plots)).toString('base64')}"></div>`
  return html`<div class="fb-inner">${headerHtml(state)}${image}${notesHtml(state)}${samplesHtml(samples)}</div>`
}

/** The board for terminals. */
export function boardText({ state, samples }: BoardData): string {
  const { title, error, warnings } = state
  const lines = [[sentence(state), title].filter(Boolean).join(' · ')]
  if (error) lines.push(`${error.name}: ${error.message}`)
  lines.push(...outcome(state), ...warnings.map(({ message }) => `warning: ${message}`))
  if (samples.at.length === 0) return lines.join('\n')
  const columns = columnsOf(samples)
  return `${lines.join('\n')}\n\n${textTable(columns.map(([, name]) => name), samples.prompts.map((_, row) => columns.map(([, , text]) => text(row))))}`
}
