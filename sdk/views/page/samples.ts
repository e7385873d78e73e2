import { whole } from '../format'
import type { BoardSamples } from '../state'
import { freshId, h, setAttribute, setText } from './dom'
import { changedWords } from './words'

/** A text that folds to a few lines, with a button for the rest. */
class Folding {
  readonly element: HTMLElement
  readonly text = h('div', { class: 'fb-text', dir: 'auto' })
  private readonly more = h('button', { type: 'button', class: 'fb-quiet fb-more', text: 'more', 'aria-expanded': 'false', hidden: true })
  private shown = ''
  private most = 0

  constructor(label: string) {
    this.more.addEventListener('click', () => {
      const open = this.text.classList.toggle('fb-open')
      // An opened text may scroll, and then the keyboard must reach it.
      setAttribute(this.text, 'tabindex', open ? '0' : null)
      setText(this.more, open ? 'less' : 'more')
      this.more.setAttribute('aria-expanded', String(open))
      this.more.setAttribute('aria-label', `${open ? 'less' : 'more'} of ${label}`)
    })
    this.more.setAttribute('aria-label', `more of ${label}`)
    this.element = h('div', {}, this.text, this.more)
  }

  show(whole: string, before: string | null): void {
    // Answers begin with the space that their first token has.
    const text = whole.trim()
    const key = `${before ?? ''}\0${text}`
    if (key === this.shown) return
    this.shown = key
    const pieces = before === null ? [{ text, changed: false }] : changedWords(before, text)
    this.text.replaceChildren(...pieces.map((piece) => (piece.changed ? h('mark', { text: piece.text }) : document.createTextNode(piece.text))))
  }

  /** Shows the button where the text is cut, and keeps the room that the longest text took, so that no row moves under the slider. */
  measure(anew: boolean): void {
    if (anew) { this.most = 0; this.text.style.minHeight = '' }
    const height = this.text.clientHeight
    if (this.text.classList.contains('fb-open') || height === 0) return
    this.more.hidden = this.text.scrollHeight <= height + 1
    if (height <= this.most) return
    this.most = height
    this.text.style.minHeight = `${height}px`
  }
}

interface Row { readonly element: HTMLTableRowElement; readonly cells: Record<'prompt' | 'untouched' | 'answer' | 'reference', Folding> }

const titles = { prompt: 'Prompt', untouched: 'Untouched', answer: 'Tuned', reference: 'Reference' } as const

function makeRow(index: number): Row {
  const cells = Object.fromEntries(Object.entries(titles).map(([name, title]) => [name, new Folding(`${title.toLowerCase()} ${index + 1}`)])) as Row['cells']
  const element = h('tr', {}, ...Object.entries(cells).map(([name, cell]) => {
    const td = h(name === 'prompt' ? 'th' : 'td', { 'data-label': titles[name as keyof typeof titles], 'data-column': name, ...(name === 'prompt' ? { scope: 'row' } : {}) })
    td.append(cell.element)
    return td
  }))
  return { element, cells }
}

/** Answers over the steps, with a slider that follows the newest until it is moved back. */
export class Samples {
  readonly element: HTMLElement
  private readonly slider: HTMLInputElement
  private readonly step = h('output', { class: 'fb-sample-step' })
  private readonly heading = h('th', { scope: 'col', 'data-column': 'answer', text: titles.answer })
  private readonly body = h('tbody')
  private readonly table: HTMLTableElement
  private readonly more = h('p', { class: 'fb-soft', hidden: true })
  private readonly hint = h('span', { class: 'fb-soft fb-hint' })
  private readonly sizes: ResizeObserver
  private rows: Row[] = []
  private samples: BoardSamples = { prompts: [], more: 0, at: [] }
  private follows = true
  private width = 0

  constructor() {
    const id = freshId('sampled')
    this.slider = h('input', { id, type: 'range', class: 'fb-slider', min: '0', max: '0', step: '1' })
    this.slider.addEventListener('input', () => {
      this.follows = Number(this.slider.value) === this.samples.at.length - 1
      this.show()
    })
    this.slider.addEventListener('keydown', (event) => event.stopPropagation())
    const columns = Object.entries(titles).map(([name, text]) => (name === 'answer' ? this.heading : h('th', { scope: 'col', 'data-column': name, text })))
    this.table = h('table', { class: 'fb-samples' }, h('thead', {}, h('tr', {}, ...columns)), this.body)
    this.element = h('section', { class: 'fb-sample-section', hidden: true, 'aria-label': 'Samples' },
      h('div', { class: 'fb-sample-head' }, h('h4', { text: 'Samples' }), h('label', { for: id, class: 'fb-soft', text: 'at step' }), this.slider, this.step, this.hint), this.table, this.more)
    this.sizes = new ResizeObserver(([{ contentRect: { width } }]) => {
      if (Math.abs(width - this.width) < 1) return
      this.width = width
      this.measure(true)
    })
    this.sizes.observe(this.table)
  }

  update(samples: BoardSamples): void {
    const at = this.samples.at[Number(this.slider.value)]?.step
    this.samples = samples
    this.element.hidden = samples.at.length === 0
    if (samples.at.length === 0) return
    const kept = samples.at.findIndex(({ step }) => step === at)
    this.slider.max = String(samples.at.length - 1)
    this.slider.value = String(this.follows || kept < 0 ? samples.at.length - 1 : kept)
    setAttribute(this.slider, 'disabled', samples.at.length < 2 ? '' : null)
    while (this.rows.length < samples.prompts.length) this.rows.push(makeRow(this.rows.length))
    this.rows.length = samples.prompts.length
    if (this.body.childElementCount !== this.rows.length) this.body.replaceChildren(...this.rows.map(({ element }) => element))
    this.more.hidden = samples.more === 0
    setText(this.more, `${whole(samples.more)} more ${samples.more === 1 ? 'prompt' : 'prompts'} in metrics.jsonl`)
    this.show()
  }

  private show(): void {
    const { samples } = this
    const index = Number(this.slider.value)
    const now = samples.at[index]
    if (!now) return
    const untouched = samples.at.find((sampling) => sampling.untouched)
    const before = index > 0 ? samples.at[index - 1] : null
    setText(this.step, whole(now.step))
    this.slider.setAttribute('aria-valuetext', now.untouched ? `step ${now.step}, the untouched model` : `step ${now.step}`)
    setText(this.heading, now.untouched ? 'Tuned, no step yet' : `Tuned, step ${whole(now.step)}`)
    setText(this.hint, before && !before.untouched ? `marked: not said at step ${whole(before.step)}` : '')
    this.table.classList.toggle('fb-no-untouched', untouched === undefined)
    this.table.classList.toggle('fb-no-reference', samples.prompts.every(({ reference }) => reference === null))
    this.rows.forEach(({ cells }, i) => {
      const { prompt, reference } = samples.prompts[i]
      cells.prompt.show(prompt, null)
      cells.untouched.show(untouched?.answers[i] ?? '', null)
      // Before the first step both would say the same.
      cells.answer.show(now.untouched ? '–' : now.answers[i] ?? '', before && !before.untouched ? before.answers[i] ?? '' : null)
      cells.reference.show(reference ?? '', null)
    })
    this.measure(false)
  }

  private measure(anew: boolean): void {
    for (const { cells } of this.rows) for (const cell of Object.values(cells)) cell.measure(anew)
  }

  dispose(): void { this.sizes.disconnect() }
}
