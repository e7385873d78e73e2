import { isOver } from './figures'
import type { BoardState } from './state'
import { smoothed } from './thin'

/** What a line means; the page gives it its colour, light or dark. */
export type Role = 'faint' | 'main' | 'second' | 'third' | 'thirdFaint'

/** One line of a plot. */
export interface PlotLine {
  readonly name: string
  readonly role: Role
  readonly x: readonly number[]
  readonly y: readonly (number | null)[]
  readonly width: number
  /** Diameter in px of a dot at each point; 0: none. */
  readonly dots: number
}

/** How numbers of a plot are written: as `format.ts` and, for the page's library, d3 do. */
export type PlotFormat = 'number' | 'rate' | 'count' | 'percent' | 'memory'

/** One chart, without a library's words. */
export interface Plot {
  readonly id: string
  readonly title: string
  readonly format: PlotFormat
  /** The axis begins at zero. */
  readonly zero: boolean
  readonly lines: readonly PlotLine[]
  /** First and last step of the axis. */
  readonly from: number
  readonly to: number
  /** The newest value. */
  readonly value: number | null
}

/** The charts of a board: loss first, then the small ones; the same ones for any state, so that none comes or goes. */
export function plotsOf(state: BoardState): Plot[] {
  const { series, evals } = state
  const [from, to] = span(state)
  const line = (name: string, role: Role, y: readonly (number | null)[], width: number): PlotLine => ({ name, role, x: series.step, y, width, dots: 0 })
  const held = (name: string, y: (number | null)[], dots: number): PlotLine => ({ name, role: 'second', x: evals.map(({ step }) => step), y, width: 1.5, dots })
  const small = (id: string, title: string, format: PlotFormat, role: Role, y: readonly (number | null)[]): Plot =>
    ({ id, title, format, zero: true, from, to, lines: [line(title.toLowerCase(), role, y, 1.5)], value: y.at(-1) ?? null })
  // What jumps from step to step would be a solid block on a long run.
  const noisy = (id: string, title: string, format: PlotFormat, role: 'main' | 'third', y: readonly (number | null)[]): Plot =>
    ({ ...small(id, title, format, role, y), lines: [line('each step', role === 'main' ? 'faint' : 'thirdFaint', y, 1), line('smoothed', role, smoothed(y), 1.5)] })
  return [
    {
      id: 'loss', title: 'Loss', format: 'number', zero: false, from, to, value: state.loss,
      lines: [line('each step', 'faint', series.loss, 1), line('smoothed', 'main', series.smoothLoss, 2), held('held-out', evals.map(({ loss }) => loss), 6)],
    },
    small('learning-rate', 'Learning rate', 'rate', 'main', series.learningRate),
    noisy('gradient-norm', 'Gradient norm', 'number', 'main', series.gradNorm),
    { id: 'accuracy', title: 'Held-out accuracy', format: 'percent', zero: true, from, to, lines: [held('accuracy', evals.map(({ accuracy }) => accuracy), 5)], value: evals.at(-1)?.accuracy ?? null },
    { ...noisy('speed', 'Tokens/s', 'count', 'third', series.tokensPerSecond), value: state.tokensPerSecond },
    noisy('utilisation', 'Utilisation', 'percent', 'third', series.utilisation),
    small('memory', 'Memory, MiB', 'memory', 'third', series.memory),
  ]
}

/**
 * The steps that the axes show. While the run goes on the end doubles each time that the curve reaches it, up to the last
 * step of the run: a curve grows into free room, instead of moving under the eye with each update.
 */
function span({ series, evals, totalSteps, status }: BoardState): [number, number] {
  const [first, last] = [Math.min(series.step[0] ?? 0, evals[0]?.step ?? Infinity), Math.max(series.step.at(-1) ?? 1, evals.at(-1)?.step ?? 1)]
  if (isOver(status) || totalSteps === 0) return [first, Math.max(last, first + 1)]
  let end = totalSteps
  while (end / 2 >= Math.max(last, 8)) end /= 2
  return [Math.min(first, 1), Math.max(end, last)]
}
