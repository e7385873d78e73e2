import { clip } from './format'
import { html, type Html } from './html'
import { styleHtml } from './style'

/** Forms of one display: what a notebook shows, and what a terminal does. */
export type TextAndHtml = {
  readonly 'text/html': string
  readonly 'text/plain': string
}

/** Rows under aligned columns, for terminals. */
export function textTable(titles: readonly string[], rows: readonly (readonly string[])[], width = 48): string {
  const cells = [titles, ...rows].map((row) => row.map((cell) => clip(cell, width)))
  const widths = titles.map((_, i) => Math.max(...cells.map((row) => [...(row[i] ?? '')].length)))
  const write = (row: readonly string[]) => row.map((cell, i) => cell + ' '.repeat(widths[i] - [...cell].length)).join('  ').trimEnd()
  return [write(cells[0]), widths.map((w) => '-'.repeat(w)).join('  ').trimEnd(), ...cells.slice(1).map(write)].join('\n')
}

/** Anything as the text of a table cell. */
function cellText(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)))
  if (typeof value === 'object') return JSON.stringify(value, (_, v) => typeof v === 'bigint' ? String(v) : v) ?? ''
  return String(value)
}

/** A table of any values, as HTML and as text. */
export function tableView(titles: readonly string[], rows: readonly (readonly unknown[])[], caption: Html | string = '', captionText = String(caption)): TextAndHtml {
  const cells = rows.map((row) => row.map(cellText))
  const markup = html`${styleHtml}<div class="fettle">${caption && html`<div class="fettle-caption">${caption}</div>`}<table><thead><tr>${
    titles.map((title) => html`<th>${title}</th>`)}</tr></thead><tbody>${
    cells.map((row) => html`<tr>${row.map((cell) => html`<td>${clip(cell, 400)}</td>`)}</tr>`)}</tbody></table></div>`
  return { 'text/html': markup.toString(), 'text/plain': [captionText, textTable(titles, cells)].filter(Boolean).join('\n') }
}
