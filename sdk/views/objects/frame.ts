import { clip, digits, percent } from '../format'
import { html, type Html, type HtmlPart } from '../html'
import { styleHtml } from '../style'
import { textTable, type TextAndHtml } from '../tables'
import { objectStyle } from './style'

/** A cell: text, right-aligned when it is a number, or markup with its text form. */
export type Cell = string | { readonly number: string } | { readonly bar: Html; readonly text: string }

const cellPlain = (cell: Cell): string => typeof cell === 'string' ? cell : 'number' in cell ? cell.number : cell.text

/** Everything that an object shows, in its frame. Of the text's parts '' is a blank line, and `null` or `false` none. */
export function frame(parts: HtmlPart, text: readonly (string | false | null)[]): TextAndHtml {
  return {
    'text/html': html`${styleHtml}${objectStyle}<div class="fettle fettle-object">${parts}</div>`.toString(),
    'text/plain': text.filter((part): part is string => typeof part === 'string').join('\n'),
  }
}

/** What an object is, and the line that says most about it. */
export function heading(name: string, lead: HtmlPart): Html {
  return html`<div class="fettle-name">${clip(name, 300)}</div><div class="fettle-lead">${lead}</div>`
}

function cellHtml(cell: Cell): Html {
  if (typeof cell === 'string') return html`<td>${clip(cell, 400)}</td>`
  return 'number' in cell ? html`<td class="fettle-n">${cell.number}</td>` : html`<td class="fettle-meters">${cell.bar}</td>`
}

/** Pairs of name and value. */
export function factsHtml(rows: readonly (readonly [string, Cell])[], caption = ''): Html {
  return html`<table>${caption && html`<caption>${caption}</caption>`}<tbody>${rows.map(([name, cell]) => html`<tr>${name === '' ? html`<td></td>` : html`<th scope="row">${name}</th>`}${cellHtml(cell)}</tr>`)}</tbody></table>`
}

/** The same for a terminal. */
export function factsText(rows: readonly (readonly [string, Cell])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, cell]) => `${name.padEnd(width)}  ${clip(cellPlain(cell), 100)}`.trimEnd()).join('\n')
}

/** Rows under titles; the first cell names its row. A title with a trailing `#` stands over numbers. */
export function gridHtml(titles: readonly string[], rows: readonly (readonly Cell[])[], caption = ''): Html {
  return html`<div class="fettle-scroll" tabindex="0"><table>${caption && html`<caption>${caption}</caption>`}<thead><tr>${
    titles.map((title) => title === '' ? html`<td></td>` : title.endsWith('#') ? html`<th scope="col" class="fettle-n">${title.slice(0, -1)}</th>` : html`<th scope="col">${title}</th>`)}</tr></thead><tbody>${
    rows.map(([first, ...rest]) => html`<tr><th scope="row">${clip(cellPlain(first), 400)}</th>${rest.map(cellHtml)}</tr>`)}</tbody></table></div>`
}

export function gridText(titles: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return textTable(titles.map((title) => title.replace(/#$/, '')), rows.map((row) => row.map(cellPlain)), 60)
}

/** What is wrong or odd, in words. */
export function notesHtml(notes: readonly string[]): Html {
  return html`${notes.map((note) => html`<div class="fettle-bad">⚠ ${clip(note, 600)}</div>`)}`
}

export const notesText = (notes: readonly string[]): string | null => notes.length === 0 ? null : notes.map((note) => `! ${clip(note, 600)}`).join('\n')

/** A share as a bar beside its number. */
export function meter(share: number): { bar: Html; text: string } {
  return { bar: html`<span class="fettle-meter" style="width:${(Math.max(0, Math.min(1, share)) * 100).toFixed(1)}%"></span>`, text: '█'.repeat(Math.round(share * 20)) }
}

/** 103000000 → `103 MB`. */
export function bytesText(bytes: number): string {
  for (const [unit, size] of [['TB', 1e12], ['GB', 1e9], ['MB', 1e6], ['kB', 1e3]] as const) if (bytes >= size) return `${digits(bytes / size, 3)} ${unit}`
  return `${bytes} B`
}

/** A share as people write it: `3.5%`, and `0.04%` where one digit would say nothing. */
export function shareText(share: number): string {
  return share > 0 && share < 0.001 ? `${digits(share * 100, 2)}%` : percent(share)
}

/** A moment in local time, the same form everywhere: `2026-05-01 14:03:22`. */
export function timeText(ms: number): string {
  const at = new Date(ms)
  return new Date(ms - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19).replace('T', ' ')
}
