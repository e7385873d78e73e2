import { html, type Html } from '../views/html'
import { styleHtml } from '../views/style'
import type { TextAndHtml } from '../views/tables'
import type { ChatState, ChatTurnState } from './state'

/** A chat as it stands, for what shows neither live charts nor widgets: a table with a column a side, and plain text. */
export function chatView(state: ChatState): TextAndHtml {
  const { title, sides, turns, more = 0, status, error } = state
  const columns = html`<tr><th></th>${sides.map(({ label }) => html`<th>${label}</th>`)}</tr>`
  const older = more > 0 && html`<div class="fettle-caption">${olderText(more)}</div>`
  const markup = html`${styleHtml}<div class="fettle"><div class="fettle-caption">chat: ${title}${status === 'ready' ? '' : ` (${status})`}</div>${older}<table><thead>${columns}</thead><tbody>${
    turns.map(turnHtml)}</tbody></table>${error !== null && html`<div class="fettle-error">${error}</div>`}</div>`
  return { 'text/html': markup.toString(), 'text/plain': chatText(state) }
}

function turnHtml({ text, answers, notes = [] }: ChatTurnState): Html {
  return html`<tr><th>${text}</th>${answers.map((answer) => html`<td>${answerText(answer)}</td>`)}</tr>${
    notes.length > 0 && html`<tr><td></td><td colspan="${answers.length}"><small>${notes.join('; ')}</small></td></tr>`}`
}

/** The transcript as text. */
function chatText({ title, sides, turns, more = 0, error }: ChatState): string {
  const lines = [`chat: ${title}`, ...(more > 0 ? [olderText(more)] : [])]
  for (const { text, answers, notes = [] } of turns) {
    lines.push('', `> ${text}`, ...answers.map((answer, i) => `${sides[i]?.label ?? answer.side}: ${answerText(answer)}`), ...notes.map((note) => `(${note})`))
  }
  if (error !== null) lines.push('', error)
  return lines.join('\n')
}

function answerText({ text, done }: ChatTurnState['answers'][number]): string { return text === '' && !done ? '…' : text }

function olderText(more: number): string { return `${more} older ${more === 1 ? 'turn' : 'turns'} left out` }
