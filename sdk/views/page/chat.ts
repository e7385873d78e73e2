import type { ChatState, ChatTurnState } from '../../chat/state'
import { whole } from '../format'
import type { ChatHost, ChatPanel } from './api'
import { freshId, h, ownKeys, setAttribute, setText } from './dom'
import { styleElement } from './style'
import { Theme } from './theme'

interface Turn { readonly element: HTMLElement; readonly question: HTMLElement; readonly notes: HTMLElement; readonly answers: readonly { readonly text: HTMLElement; readonly speed: HTMLElement }[] }

const statusWords: Readonly<Record<ChatState['status'], string>> = { loading: 'reading the model …', ready: '', answering: 'answering …', closed: 'closed: nobody answers any more' }

class Chat implements ChatPanel {
  private readonly root = h('section', { class: 'fettle-board fettle-chat', 'aria-label': 'Chat', ...ownKeys })
  private readonly theme: Theme
  private readonly title = h('span', { class: 'fb-title', dir: 'auto' })
  private readonly status = h('span', { class: 'fb-about', role: 'status', 'aria-live': 'polite' })
  private readonly log = h('div', { class: 'fb-chat-log', role: 'log', 'aria-label': 'Conversation', tabindex: '0' })
  private readonly older = h('p', { class: 'fb-soft', hidden: true })
  private readonly error = h('div', { class: 'fb-error', role: 'alert', dir: 'auto', hidden: true, tabindex: 0 })
  private readonly input: HTMLTextAreaElement
  private readonly form: HTMLFormElement
  private readonly send = h('button', { type: 'submit', class: 'fb-button', text: 'Send' })
  private readonly stop = h('button', { type: 'button', class: 'fb-button', text: 'Stop', hidden: true })
  private readonly clear = h('button', { type: 'button', class: 'fb-button', text: 'Clear' })
  private turns: Turn[] = []
  private host: ChatHost | null = null
  private state: ChatState | null = null

  constructor(private readonly element: HTMLElement) {
    this.theme = new Theme(this.root, () => { /* Colours of text come from style sheets alone. */ })
    const id = freshId('ask')
    this.input = h('textarea', { id, class: 'fb-input', rows: 2, placeholder: 'Ask; Shift+Enter for a new line', dir: 'auto' })
    this.form = h('form', { class: 'fb-chat-form', hidden: true }, h('label', { for: id, class: 'fb-hidden', text: 'Message' }), this.input, h('span', { class: 'fb-buttons' }, this.send, this.stop, this.clear))
    this.input.addEventListener('keydown', (event) => {
      event.stopPropagation()
      // Enter that ends a composed character (Japanese, Chinese) is not for us.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      this.submit()
    })
    this.form.addEventListener('submit', (event) => { event.preventDefault(); this.submit() })
    this.stop.addEventListener('click', () => this.host?.cancel())
    this.clear.addEventListener('click', () => { if (this.clear.getAttribute('aria-disabled') !== 'true') this.host?.clear() })
    this.root.append(styleElement(), h('div', { class: 'fb-inner' }, h('div', { class: 'fb-line' }, this.title, this.status), this.older, this.log, this.error, this.form))
    element.replaceChildren(this.root)
  }

  private submit(): void {
    const text = this.input.value.trim()
    if (text === '' || this.state?.status !== 'ready' || !this.host) return
    this.input.value = ''
    this.log.scrollTop = this.log.scrollHeight
    this.host.ask(text)
  }

  setHost(host: ChatHost | null): void {
    this.host = host
    this.form.hidden = host === null || this.state?.status === 'closed'
  }

  update(state: ChatState): void {
    // Who reads further up stays there; who is at the end stays at the end.
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 24
    if (this.state && this.state.sides.length !== state.sides.length) this.turns = []
    this.state = state
    setText(this.title, state.title)
    setText(this.status, statusWords[state.status])
    const { more = 0 } = state
    this.older.hidden = more === 0
    setText(this.older, `${whole(more)} older ${more === 1 ? 'turn' : 'turns'} left out`)
    this.error.hidden = state.error === null
    setText(this.error, state.error ?? '')
    this.showTurns(state)
    const answering = state.status === 'answering'
    const focused = document.activeElement
    this.send.hidden = answering
    this.stop.hidden = !answering
    if (focused === this.send && answering) this.stop.focus()
    if (focused === this.stop && !answering) this.input.focus()
    this.send.setAttribute('aria-disabled', String(state.status !== 'ready'))
    this.clear.setAttribute('aria-disabled', String(state.turns.length === 0 || answering))
    this.form.hidden = this.host === null || state.status === 'closed'
    if (atEnd) this.log.scrollTop = this.log.scrollHeight
  }

  private showTurns(state: ChatState): void {
    while (this.turns.length < state.turns.length) this.turns.push(makeTurn(state))
    this.turns.length = state.turns.length
    if (this.log.childElementCount !== this.turns.length || (this.turns.length > 0 && this.log.lastElementChild !== this.turns.at(-1)?.element)) this.log.replaceChildren(...this.turns.map(({ element }) => element))
    state.turns.forEach((turn, i) => fillTurn(this.turns[i], turn))
  }

  dispose(): void {
    this.theme.dispose()
    this.element.replaceChildren()
  }
}

function makeTurn({ sides }: ChatState): Turn {
  const question = h('div', { class: 'fb-question', dir: 'auto' })
  const answers = sides.map(({ label }) => {
    const [text, speed] = [h('div', { class: 'fb-answer-text', dir: 'auto' }), h('small')]
    return { element: h('div', { class: 'fb-answer' }, h('div', { class: 'fb-answer-head' }, h('b', { text: label }), speed), text), text, speed }
  })
  const notes = h('div', { class: 'fb-soft', dir: 'auto', hidden: true })
  return { element: h('div', { class: 'fb-turn' }, question, h('div', { class: 'fb-answers' }, ...answers.map(({ element }) => element)), notes), question, notes, answers }
}

function fillTurn({ question, notes, answers }: Turn, turn: ChatTurnState): void {
  setText(question, turn.text)
  notes.hidden = !turn.notes?.length
  setText(notes, turn.notes?.join('; ') ?? '')
  answers.forEach(({ text, speed }, i) => {
    const answer = turn.answers[i]
    // Answers begin with the space that their first token has.
    setText(text, answer?.text.trimStart() ?? '')
    setAttribute(text, 'aria-busy', answer && !answer.done ? 'true' : null)
    setText(speed, answer?.tokensPerSecond ? `${whole(answer.tokensPerSecond)} tokens/s` : '')
  })
}

/** Puts a chat box into `element`, in the place of what it holds. */
export function mountChat(element: HTMLElement): ChatPanel {
  return new Chat(element)
}
