import { clip } from './format'
import { html, type Html } from './html'
import type { RunView } from './series'
import { textTable } from './tables'

/** One prompt with what the model said to it first and last. */
export interface SampleRow {
  readonly prompt: string
  readonly before: string | null
  readonly now: string
  readonly reference: string | null
}

/** The newest samples, each beside the answer of the first sampling (step 0 where there was one). */
export function sampleRows(view: RunView): { firstStep: number | null; step: number; rows: SampleRow[] } | null {
  const last = view.samples.at(-1)
  if (!last) return null
  const first = view.samples.length > 1 ? view.samples[0] : null
  const before = new Map(first?.samples.map((sample) => [sample.prompt, sample.answer]) ?? [])
  const rows = last.samples.map(({ prompt, answer, reference }) => ({ prompt, before: before.get(prompt) ?? null, now: answer, reference }))
  return { firstStep: first?.atStep ?? null, step: last.atStep, rows }
}

function columnsOf(samples: NonNullable<ReturnType<typeof sampleRows>>): [string, (row: SampleRow) => string][] {
  return [
    ['Prompt', (row) => row.prompt],
    ...(samples.firstStep === null ? [] : [[`Answer at step ${samples.firstStep}`, (row: SampleRow) => row.before ?? ''] as [string, (row: SampleRow) => string]]),
    [`Answer at step ${samples.step}`, (row) => row.now],
    ...(samples.rows.some((row) => row.reference !== null) ? [['Reference', (row: SampleRow) => row.reference ?? ''] as [string, (row: SampleRow) => string]] : []),
  ]
}

const shownSamples = 8

export function samplesHtml(view: RunView): Html {
  const samples = sampleRows(view)
  if (!samples) return html``
  const columns = columnsOf(samples)
  return html`<table class="fettle-samples"><thead><tr>${columns.map(([title]) => html`<th>${title}</th>`)}</tr></thead><tbody>${
    samples.rows.slice(0, shownSamples).map((row) => html`<tr>${columns.map(([, cell]) => html`<td>${clip(cell(row), 400)}</td>`)}</tr>`)
  }</tbody></table>`
}

export function samplesText(view: RunView): string {
  const samples = sampleRows(view)
  if (!samples) return ''
  const columns = columnsOf(samples)
  return textTable(columns.map(([title]) => title), samples.rows.slice(0, shownSamples).map((row) => columns.map(([, cell]) => cell(row))))
}
