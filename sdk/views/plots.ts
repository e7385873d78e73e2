import type { BoardState } from './state'

/** What a line means; the page gives it its colour, light or dark. */
export type Role = 'faint' | 'main' | 'second' | 'third'

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
  /** The newest value. */
  readonly value: number | null
}

/** The charts of a board: loss first, then the small ones; the same ones for any state, so that none comes or goes. */
export function plotsOf(state: BoardState): Plot[] {
  const { series, evals } = state
  const line = (name: string, role: Role, y: readonly (number | null)[], width: number): PlotLine => ({ name, role, x: series.step, y, width, dots: 0 })
  const held = (name: string, y: (number | null)[], dots: number): PlotLine => ({ name, role: 'second', x: evals.map(({ step }) => step), y, width: 1.5, dots })
  const small = (id: string, title: string, format: PlotFormat, role: Role, y: readonly (number | null)[]): Plot =>
    ({ id, title, format, zero: true, lines: [line(title.toLowerCase(), role, y, 1.5)], value: y.at(-1) ?? null })
  return [
    {
      id: 'loss', title: 'Loss', format: 'number', zero: false, value: state.loss,
      lines: [line('each step', 'faint', series.loss, 1), line('smoothed', 'main', series.smoothLoss, 2), held('held-out', evals.map(({ loss }) => loss), 6)],
    },
    small('learning-rate', 'Learning rate', 'rate', 'main', series.learningRate),
    small('gradient-norm', 'Gradient norm', 'number', 'main', series.gradNorm),
    { id: 'accuracy', title: 'Held-out accuracy', format: 'percent', zero: false, lines: [held('accuracy', evals.map(({ accuracy }) => accuracy), 5)], value: evals.at(-1)?.accuracy ?? null },
    { ...small('speed', 'Tokens/s', 'count', 'third', series.tokensPerSecond), value: state.tokensPerSecond },
    small('utilisation', 'Utilisation', 'percent', 'third', series.utilisation),
    small('memory', 'Memory, MiB', 'memory', 'third', series.memory),
  ]
}
