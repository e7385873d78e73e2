import { figureNames, figureTexts, sentence, shareOf, stageText, statusWords } from '../figures'
import type { BoardState } from '../state'
import { h, setAttribute, setText } from './dom'

/** Status, what trains, the bar and the figures. */
export class Header {
  readonly element: HTMLElement
  private readonly status = h('span', { class: 'fb-status' })
  private readonly title = h('span', { class: 'fb-title', dir: 'auto' })
  private readonly about = h('span', { class: 'fb-about', dir: 'auto' })
  private readonly fill = h('i')
  private readonly bar = h('div', { class: 'fb-bar', role: 'progressbar', 'aria-label': 'Progress of the run', 'aria-valuemin': '0', 'aria-valuemax': '100' }, this.fill)
  private readonly stage = h('div', { class: 'fb-stage' })
  private readonly values = new Map(figureNames.map((name) => [name, h('dd')]))
  private readonly error = h('div', { class: 'fb-error', hidden: true, tabindex: 0 })
  private readonly errorName = h('b')
  private readonly errorText = h('span', { dir: 'auto' })

  constructor() {
    const figures = h('dl', { class: 'fb-figures' }, ...[...this.values].map(([name, value]) => h('div', {}, h('dt', { text: name }), value)))
    this.error.append(this.errorName, document.createTextNode(' '), this.errorText)
    this.element = h('div', { class: 'fb-header' },
      h('div', { class: 'fb-line' }, this.status, this.title, this.about, this.stage), this.bar, figures, this.error)
  }

  update(state: BoardState): void {
    setText(this.status, statusWords[state.status])
    setAttribute(this.status, 'data-status', state.status)
    setText(this.title, state.title)
    setAttribute(this.title, 'title', state.title || null)
    setText(this.about, state.detached ? [state.about, 'detached'].filter(Boolean).join(', ') : state.about)
    this.showBar(state)
    this.showFigures(state)
    this.error.hidden = state.error === null
    if (!state.error) return
    setText(this.errorName, state.error.name)
    setText(this.errorText, state.error.message)
  }

  private showBar(state: BoardState): void {
    const share = shareOf(state)
    setAttribute(this.bar, 'data-status', state.status)
    setAttribute(this.bar, 'aria-valuenow', share === null ? null : String(Math.round(share * 100)))
    setAttribute(this.bar, 'aria-valuetext', sentence(state))
    this.bar.classList.toggle('fb-unknown', share === null)
    this.fill.style.width = share === null ? '' : `${(share * 100).toFixed(2)}%`
    setText(this.stage, stageText(state))
  }

  private showFigures(state: BoardState): void {
    const texts = figureTexts(state)
    for (const [name, value] of this.values) setText(value, texts[name])
  }
}
