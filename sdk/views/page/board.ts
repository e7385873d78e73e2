import { isOver, sentence } from '../figures'
import type { BoardSamples, BoardState } from '../state'
import type { BoardHost, BoardPanel, PlotlyLike } from './api'
import { Charts } from './charts'
import { Controls } from './controls'
import { h, ownKeys, setText } from './dom'
import { Header } from './header'
import { Notes } from './notes'
import { Samples } from './samples'
import { styleElement } from './style'
import { Theme } from './theme'

const spokenEach = 10_000

/** Says the state to screen readers when its status changes, at most each ten seconds. */
class Announcer {
  readonly element = h('div', { class: 'fb-hidden', 'aria-live': 'polite', 'aria-atomic': 'true' })
  private status = ''
  private last = -Infinity
  private timer: number | undefined

  update(state: BoardState): void {
    const status = `${state.status} ${state.preparing?.stage ?? ''} ${state.warnings.length}`
    if (status === this.status) return
    this.status = status
    clearTimeout(this.timer)
    const say = () => {
      this.last = Date.now()
      setText(this.element, [sentence(state), state.error?.message, state.warnings.at(-1) && `warning: ${state.warnings.at(-1)?.message}`].filter(Boolean).join('. '))
    }
    this.timer = window.setTimeout(say, Math.max(0, this.last + spokenEach - Date.now()))
  }

  dispose(): void { clearTimeout(this.timer) }
}

class Board implements BoardPanel {
  private readonly root = h('section', { class: 'fettle-board', 'aria-label': 'Training run', ...ownKeys })
  private readonly header = new Header()
  private readonly controls = new Controls()
  private readonly notes = new Notes()
  private readonly samples = new Samples()
  private readonly announcer = new Announcer()
  private readonly theme: Theme
  private readonly charts: Charts

  constructor(private readonly element: HTMLElement, plotly: () => Promise<PlotlyLike>) {
    this.theme = new Theme(this.root, () => this.charts.repaint())
    this.charts = new Charts(this.theme, plotly)
    const inner = h('div', { class: 'fb-inner' }, this.header.element, this.controls.element, this.charts.element, this.notes.element, this.samples.element, this.announcer.element)
    this.root.append(styleElement(), inner)
    element.replaceChildren(this.root)
  }

  update(state: BoardState): void {
    this.header.update(state)
    this.controls.update(state)
    this.charts.update(state)
    this.notes.update(state)
    this.announcer.update(state)
    // What failed before its first step has nothing to draw.
    this.charts.element.hidden = state.series.step.length === 0 && state.evals.length === 0 && isOver(state.status)
  }

  updateSamples(samples: BoardSamples): void { this.samples.update(samples) }

  setHost(host: BoardHost | null): void { this.controls.setHost(host) }

  dispose(): void {
    this.theme.dispose()
    this.charts.dispose()
    this.announcer.dispose()
    this.samples.dispose()
    this.element.replaceChildren()
  }
}

/** Puts a board into `element`, in the place of what it holds. `plotly` is asked for when there is something to draw. */
export function mountBoard(element: HTMLElement, plotly: () => Promise<PlotlyLike>): BoardPanel {
  return new Board(element, plotly)
}
