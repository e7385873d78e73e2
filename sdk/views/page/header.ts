import { digits, duration, whole } from '../format'
import type { BoardState } from '../state'
import { h, setAttribute, setText } from './dom'
import { nothing } from './numbers'

export const statusWords: Readonly<Record<BoardState['status'], string>> = {
  preparing: 'Preparing', training: 'Training', paused: 'Paused', stopping: 'Stopping', done: 'Done', stopped: 'Stopped', failed: 'Failed', crashed: 'Crashed',
}

const figureNames = ['Step', 'Epoch', 'Loss', 'Held-out', 'Tokens/s', 'Time', 'Left'] as const

/** Share of the bar that is filled, or `null` where nobody knows. */
export function shareOf({ preparing, step, totalSteps }: BoardState): number | null {
  if (preparing) return preparing.total ? Math.min(1, preparing.done / preparing.total) : null
  return totalSteps > 0 ? Math.min(1, step / totalSteps) : 0
}

/** The state in one sentence: for screen readers. */
export function sentence(state: BoardState): string {
  const word = statusWords[state.status]
  if (state.preparing) return `${word}: ${state.preparing.stage}`
  if (state.totalSteps === 0) return word
  const loss = state.loss === null ? '' : `, loss ${digits(state.loss, 4)}`
  const left = state.left === null ? '' : `, ${duration(state.left)} left`
  return `${word}, step ${whole(state.step)} of ${whole(state.totalSteps)}${loss}${left}`
}

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
  private readonly error = h('div', { class: 'fb-error', hidden: true })
  private readonly errorName = h('b')
  private readonly errorText = h('span', { dir: 'auto' })

  constructor() {
    const figures = h('dl', { class: 'fb-figures' }, ...[...this.values].map(([name, value]) => h('div', {}, h('dt', { text: name }), value)))
    this.error.append(this.errorName, document.createTextNode(' '), this.errorText)
    this.element = h('div', { class: 'fb-header' },
      h('div', { class: 'fb-line' }, this.status, this.title, this.about), this.bar, this.stage, figures, this.error)
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
    const of = (value: number | null, write: (value: number) => string) => (value === null ? nothing : write(value))
    const total = state.totalSteps > 0
    const texts: Record<typeof figureNames[number], string> = {
      Step: total ? `${whole(state.step)} / ${whole(state.totalSteps)}` : nothing,
      Epoch: total && state.step > 0 ? state.epochs > 0 ? `${state.epoch.toFixed(2)} / ${Number(state.epochs.toFixed(2))}` : state.epoch.toFixed(2) : nothing,
      Loss: of(state.loss, (loss) => digits(loss, 4)),
      'Held-out': of(state.evals.at(-1)?.loss ?? null, (loss) => digits(loss, 4)),
      'Tokens/s': of(state.tokensPerSecond, whole),
      Time: state.elapsed > 0 ? duration(state.elapsed) : nothing,
      Left: of(state.left, duration),
    }
    for (const [name, value] of this.values) setText(value, texts[name])
  }
}

/** The line under the bar while there are no steps. */
function stageText({ status, preparing, step }: BoardState): string {
  if (preparing) return preparing.total ? `${preparing.stage}, ${whole(preparing.done)} of ${whole(preparing.total)}` : preparing.done > 0 ? `${preparing.stage}, ${whole(preparing.done)}` : preparing.stage
  return status === 'preparing' ? 'starting' : status === 'training' && step === 0 ? 'first step' : ''
}
