import { isOver } from '../figures'
import type { BoardCommand, BoardState } from '../state'
import type { BoardHost } from './api'
import { freshId, h, setText } from './dom'
import { rate } from './numbers'

type Name = BoardCommand['name']

const words: Readonly<Record<Name, string>> = {
  pause: 'Pause', resume: 'Resume', stop: 'Stop', save: 'Save now', sample: 'Sample now', evaluate: 'Evaluate now', set: 'Set',
}

/** What a button says while its command is on its way. */
const pendingWords: Readonly<Record<Name, string>> = {
  pause: 'pausing …', resume: 'resuming …', stop: 'stopping …', save: 'saving …', sample: 'sampling …', evaluate: 'evaluating …', set: 'setting the rate …',
}

/** The buttons of a run, and what it answered. Without a host there are none. */
export class Controls {
  readonly element = h('div', { class: 'fb-controls', role: 'group', 'aria-label': 'Controls of the run', hidden: true })
  private readonly buttons = new Map<Name, HTMLButtonElement>()
  private readonly reply = h('span', { class: 'fb-reply', role: 'status', 'aria-live': 'polite', dir: 'auto' })
  private readonly ask = h('span', { class: 'fb-ask', role: 'group', 'aria-label': 'Stop the run?', hidden: true })
  private readonly rate: HTMLInputElement
  private readonly pending = new Set<Name>()
  private host: BoardHost | null = null
  private state: BoardState | null = null

  constructor() {
    const id = freshId('rate')
    this.rate = h('input', { id, class: 'fb-input', type: 'text', inputmode: 'decimal', autocomplete: 'off', spellcheck: 'false', size: 8 })
    this.rate.addEventListener('keydown', (event) => {
      // A notebook would take the keys for its own.
      event.stopPropagation()
      if (event.key === 'Enter') { event.preventDefault(); this.setRate() }
      if (event.key === 'Escape') this.showRate(true)
    })
    for (const name of Object.keys(words) as Name[]) this.buttons.set(name, this.button(name))
    this.fillAsk()
    const of = (name: Name) => this.buttons.get(name)!
    const rateGroup = h('span', { class: 'fb-rate' }, h('label', { for: id, text: 'Learning rate' }), this.rate, of('set'))
    this.element.append(h('span', { class: 'fb-buttons' }, of('pause'), of('resume'), of('stop'), this.ask, of('save'), of('sample'), of('evaluate')), rateGroup, this.reply)
    this.element.addEventListener('keydown', (event) => { if (event.key === ' ' || event.key === 'Enter') event.stopPropagation() })
  }

  private button(name: Name): HTMLButtonElement {
    const button = h('button', { type: 'button', class: 'fb-button', text: words[name], 'data-command': name })
    button.addEventListener('click', () => {
      if (button.getAttribute('aria-disabled') === 'true') return
      if (name === 'stop') this.askStop(true)
      else if (name === 'set') this.setRate()
      else void this.send({ name })
    })
    return button
  }

  private fillAsk(): void {
    const yes = h('button', { type: 'button', class: 'fb-button fb-danger', text: 'Yes' })
    const no = h('button', { type: 'button', class: 'fb-button', text: 'No' })
    yes.addEventListener('click', () => { this.askStop(false); void this.send({ name: 'stop' }) })
    no.addEventListener('click', () => this.askStop(false))
    this.ask.addEventListener('keydown', (event) => { if (event.key === 'Escape') { event.stopPropagation(); this.askStop(false) } })
    this.ask.append(h('span', { text: 'Stop?' }), yes, no)
  }

  private askStop(open: boolean): void {
    const stop = this.buttons.get('stop')!
    const inside = this.ask.contains(document.activeElement) || document.activeElement === stop
    this.ask.hidden = !open
    stop.hidden = open
    if (open) this.ask.querySelectorAll('button')[1].focus()
    else if (inside) stop.focus()
  }

  private setRate(): void {
    const learningRate = Number(this.rate.value.trim().replace(',', '.'))
    const valid = this.rate.value.trim() !== '' && Number.isFinite(learningRate) && learningRate >= 0
    this.rate.setAttribute('aria-invalid', String(!valid))
    if (!valid) { this.tell('expected a number from 0 on for the learning rate, such as 1e-4', true); this.rate.focus(); return }
    void this.send({ name: 'set', learningRate })
  }

  private async send(command: BoardCommand): Promise<void> {
    const { host } = this
    if (!host || this.pending.has(command.name)) return
    this.pending.add(command.name)
    this.refresh()
    this.tell(pendingWords[command.name], false)
    try {
      this.tell(await host.command(command), false)
      if (command.name === 'set') this.edited = false
    } catch (error) {
      this.tell(error instanceof Error ? error.message : String(error), true)
    } finally {
      this.pending.delete(command.name)
      this.refresh()
    }
  }

  private tell(text: string, failed: boolean): void {
    this.reply.classList.toggle('fb-failed', failed)
    setText(this.reply, text)
  }

  setHost(host: BoardHost | null): void {
    this.host = host
    this.refresh()
  }

  update(state: BoardState): void {
    // What one watched end keeps the row, so that nothing below it moves; it says where the weights are.
    const ended = this.host !== null && this.state !== null && !isOver(this.state.status) && isOver(state.status)
    const saved = state.saved.at(-1)
    if (ended && this.pending.size === 0) this.tell(saved ? `saved in ${saved.path}` : 'ended without a checkpoint', false)
    this.state = state
    this.refresh()
  }

  private refresh(): void {
    const { state } = this
    const over = state !== null && isOver(state.status)
    // What the last command was answered with is read after the end, too.
    this.element.hidden = this.host === null || state === null || (over && this.reply.textContent === '')
    if (!state) return
    const can = (name: Name) => state.controls.includes(name) && !this.pending.has(name)
    for (const [name, button] of this.buttons) {
      // Not `disabled`: a button that loses its focus while one waits for it throws keyboard users off the panel.
      button.setAttribute('aria-disabled', String(!can(name)))
      button.setAttribute('aria-busy', String(this.pending.has(name)))
    }
    const paused = state.status === 'paused' || state.controls.includes('resume')
    this.swap(paused)
    if (over && !this.ask.hidden) this.askStop(false)
    this.element.classList.toggle('fb-over', over)
    this.showRate(false)
  }

  /** Pause and resume share one place; focus goes along. */
  private swap(paused: boolean): void {
    const [pause, resume] = [this.buttons.get('pause')!, this.buttons.get('resume')!]
    const focused = document.activeElement === pause || document.activeElement === resume
    pause.hidden = paused
    resume.hidden = !paused
    if (focused) (paused ? resume : pause).focus()
  }

  private get edited(): boolean { return this.rate.dataset.edited === 'true' }
  private set edited(value: boolean) { this.rate.dataset.edited = String(value) }

  /** Shows the present rate, unless the reader is writing another. */
  private showRate(force: boolean): void {
    const value = this.state?.learningRate
    if (force) this.edited = false
    if (value === null || value === undefined || (!force && (document.activeElement === this.rate || this.edited))) return
    const text = rate(value)
    if (this.rate.value !== text) this.rate.value = text
  }
}
