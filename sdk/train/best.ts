import type { BestPlan } from '../plan/plan'
import type { EvalEvent } from '../run/events'

/** What an evaluation gives; the scores where it writes answers. */
export type Figures = Pick<EvalEvent, 'loss' | 'perplexity' | 'accuracy' | 'bleu4' | 'rouge1' | 'rouge2' | 'rougel'>

/** Figures by the names that plans may give, without `eval_`. */
const figures: Readonly<Record<string, keyof Figures>> = {
  loss: 'loss', ppl: 'perplexity', perplexity: 'perplexity', accuracy: 'accuracy', bleu4: 'bleu4', bleu: 'bleu4', rouge1: 'rouge1', rouge2: 'rouge2', rougel: 'rougel',
}

/** Names of figures, as plans may give them. */
export const figureNames: readonly string[] = Object.keys(figures)

/** The figure that a plan means; `undefined` when there is none of the name. */
export function figureOf(metric: string | null): keyof Figures | undefined { return metric === null ? 'loss' : figures[metric.toLowerCase().replace(/^eval_/, '')] }

/** True for figures that only an evaluation by generation gives. */
export function isScore(figure: keyof Figures): boolean { return figure !== 'loss' && figure !== 'perplexity' && figure !== 'accuracy' }

/** A figure and the step that it was seen at. */
export interface Mark { readonly step: number; readonly value: number }

/** What a run knows of its best steps; kept in every checkpoint. */
export interface BestState {
  /** The best evaluation so far. */
  readonly best: Mark | null
  /** The best one that a checkpoint stands for. */
  readonly saved: Mark | null
  /** Evaluations since the best. */
  readonly misses: number
}

export const noBest: BestState = { best: null, saved: null, misses: 0 }

/** Compares evaluations by the plan's figure. A figure that is not a number never counts as better. */
export class BestKeeper {
  readonly figure: keyof Figures
  readonly higher: boolean

  constructor(private readonly plan: BestPlan, public state: BestState = noBest) {
    this.figure = figureOf(plan.metric) ?? 'loss'
    this.higher = plan.greaterIsBetter ?? (this.figure !== 'loss' && this.figure !== 'perplexity')
  }

  /** Takes an evaluation of the plan's cadence. */
  judge(step: number, seen: Figures): void {
    const value = seen[this.figure] ?? NaN, better = this.isBetter(value, this.state.best)
    this.state = { ...this.state, best: better ? { step, value } : this.state.best, misses: better ? 0 : this.state.misses + 1 }
    this.last = { step, value }
  }

  /** A checkpoint of this step stands now. */
  checkpoint(step: number): void {
    if (this.last?.step === step && this.isBetter(this.last.value, this.state.saved)) this.state = { ...this.state, saved: this.last }
  }

  /** So many evaluations in a row brought nothing better. */
  get exhausted(): boolean { return this.plan.patience !== null && this.state.misses >= this.plan.patience }

  /** The checkpoint whose weights are better than those of `step`, the last; `null`: the last are the best, or none was compared. */
  betterThan(step: number): Mark | null {
    const { saved } = this.state
    if (saved === null || saved.step === step) return null
    return this.last?.step === step && this.isBetter(this.last.value, saved) ? null : saved
  }

  private last: Mark | null = null

  private isBetter(value: number, than: Mark | null): boolean {
    if (Number.isNaN(value)) return false
    return than === null || (this.higher ? value > than.value + this.plan.minDelta : value < than.value - this.plan.minDelta)
  }
}
