import type { DataToken, ShownRow } from '../../inspect/types'
import { whole } from '../format'
import { html, type Html } from '../html'
import type { TextAndHtml } from '../tables'
import { frame, heading } from './frame'

/** Tokens shown of a long row: its start, and its end, where the answer is. */
const shownStart = 160, shownEnd = 120
/** Characters shown of one token: some vocabularies have very long ones. */
const longestToken = 120

/** What is shown in a token's place, and whether it is a sign rather than text. */
interface Piece { readonly text: string; readonly mark: boolean }

/** Controls and characters that would change how the text around them is laid out. */
const unseen = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb]/
const spaces = ' \u00a0\u3000'

/**
 * A token as pieces: line ends as ↵, tabs as ⇥, controls by their number, and a space as · where it would not be seen:
 * beside another space, a line end, a special token, or the border of what the loss counts.
 */
function pieces(token: DataToken, before: string, after: string): Piece[] {
  if (token.special) return [{ text: `⟨${token.text.replace(/^<|>$/g, '')}⟩`, mark: true }]
  const points = [...token.text].slice(0, longestToken)
  const out: { text: string; mark: boolean }[] = []
  const add = (text: string, mark: boolean): void => {
    const last = out.at(-1)
    if (last && last.mark === mark) last.text += text
    else out.push({ text, mark })
  }
  const blank = (c: string): boolean => c === '' || /\s/.test(c)
  points.forEach((c, i) => {
    if (c === '\n') add('↵\n', true)
    else if (c === '\r') add('␍', true)
    else if (c === '\t') add('⇥', true)
    else if (unseen.test(c)) add(`⟨U+${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}⟩`, true)
    else if (spaces.includes(c) && (blank(points[i - 1] ?? before) || blank(points[i + 1] ?? after))) add('·', true)
    else add(c, false)
  })
  if ([...token.text].length > longestToken) add('…', true)
  return out
}

/** Pieces of each token, with an eye on its neighbours. */
function piecesOf(tokens: readonly DataToken[]): Piece[][] {
  const near = (token: DataToken, i: number, step: 1 | -1): string => {
    let at = i + step
    // Tokens that only hold a part of a character have no text.
    while (tokens[at] && !tokens[at].special && tokens[at].text === '') at += step
    const other = tokens[at]
    if (!other || other.special || other.supervised !== token.supervised) return ''
    const points = [...other.text]
    return (step === 1 ? points[0] : points[points.length - 1]) ?? ''
  }
  return tokens.map((token, i) => pieces(token, near(token, i, -1), near(token, i, 1)))
}

/** Neighbours of one kind, so that the markup says it once. */
function runs(tokens: readonly DataToken[]): { readonly supervised: boolean; readonly tokens: { readonly pieces: Piece[]; readonly odd: boolean }[] }[] {
  const shown = piecesOf(tokens)
  const out: { supervised: boolean; tokens: { pieces: Piece[]; odd: boolean }[] }[] = []
  tokens.forEach((token, i) => {
    if (out.at(-1)?.supervised !== token.supervised) out.push({ supervised: token.supervised, tokens: [] })
    out[out.length - 1].tokens.push({ pieces: shown[i], odd: i % 2 === 1 })
  })
  return out
}

/** Start and end of a row, and how many tokens lie between them. */
function ends(row: ShownRow): { readonly start: readonly DataToken[]; readonly left: number; readonly end: readonly DataToken[] } {
  const { tokens } = row
  if (tokens.length <= shownStart + shownEnd) return { start: tokens, left: 0, end: [] }
  return { start: tokens.slice(0, shownStart), left: tokens.length - shownStart - shownEnd, end: tokens.slice(-shownEnd) }
}

const about = ({ row, tokens, supervised }: ShownRow): string =>
  `row ${whole(row)} · ${whole(tokens.length)} tokens, ${supervised === 0 ? 'none supervised' : `${whole(supervised)} supervised`}`

function tokensHtml(tokens: readonly DataToken[]): Html[] {
  return runs(tokens).map((run) => {
    const inner = run.tokens.map(({ pieces: parts, odd }) => {
      const text = parts.map(({ text: t, mark }) => mark ? html`<span class="fettle-mark">${t}</span>` : html`${t}`)
      return odd ? html`<span class="fettle-t">${text}</span>` : html`${text}`
    })
    return run.supervised ? html`<b>${inner}</b>` : html`<span class="fettle-read">${inner}</span>`
  })
}

/** Rows as training sees them: what is read only in a soft tone, what the loss counts coloured and underlined. */
export function rowsHtml(rows: readonly ShownRow[]): Html {
  return html`${rows.map((row) => {
    const { start, left, end } = ends(row)
    return html`<div class="fettle-row"><small>${about(row)}</small><p tabindex="0">${tokensHtml(start)}${left > 0 && html`<span class="fettle-read fettle-mark"> … ${whole(left)} tokens … </span>`}${tokensHtml(end)}</p></div>`
  })}`
}

export const legendHtml: Html = html`<small>Coloured and underlined: <b>what the loss counts</b>. The rest is read only. Shades part the tokens; ⟨…⟩ are special ones.</small>`

/** The same for a terminal: brackets round what the loss counts. */
export function rowsText(rows: readonly ShownRow[]): string {
  const write = (tokens: readonly DataToken[]): string => runs(tokens).map((run) => {
    const text = run.tokens.map(({ pieces: parts }) => parts.map((piece) => piece.text).join('')).join('')
    return run.supervised ? `⟦${text}⟧` : text
  }).join('')
  return rows.map((row) => {
    const { start, left, end } = ends(row)
    const text = `${write(start)}${left > 0 ? ` … ${whole(left)} tokens … ` : ''}${write(end)}`
    return `${about(row)}\n${text.replace(/\n$/, '').replace(/^/gm, '  ')}`
  }).join('\n')
}

export const legendText = '⟦…⟧ is what the loss counts'

/** Some rows of a split. */
export function rowsView(rows: readonly ShownRow[], of: number): TextAndHtml {
  const name = rows.length === 0 ? 'No rows' : rows.length === 1 ? `Row ${whole(rows[0].row)}` : `Rows ${whole(rows[0].row)} to ${whole(rows[rows.length - 1].row)}`
  const lead = `of ${whole(of)}`
  return frame(html`${heading(name, lead)}${legendHtml}${rowsHtml(rows)}`, [`${name} ${lead}; ${legendText}`, '', rowsText(rows)])
}
