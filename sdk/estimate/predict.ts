import { dataRanks, meshShape } from '../parallel/mesh/shape'
import { worldSize } from '../parallel/mesh/mesh'
import type { Plan } from '../plan/plan'
import type { CatalogueDevice } from './catalogue'
import type { Curves } from './curves'
import { curvesOf, type Bench } from './measure'
import { measuredForecast, recomputed } from './measured'
import { deviceForecast } from './on-device'
import { changeCalls, changesOf, variants } from './search'
import { stepsOf, type Steps } from './steps'
import type { Candidate, FitChange, MemoryParts, TimeParts } from './types'

/** What one way to run a plan takes. */
export interface Prediction { readonly steps: Steps; readonly stages: readonly MemoryParts[]; readonly time: TimeParts }

/** Predicts ways to run a plan: on this machine from measurements, which it makes once for each width of a rank; else from a data sheet. */
export class Predictor {
  private readonly steps = new Map<string, Steps>()
  private readonly curves = new Map<string, Promise<Curves>>()

  constructor(private readonly plan: Plan, readonly bench: Bench, private readonly device: CatalogueDevice | null) {}

  async of(change: FitChange): Promise<Prediction> {
    const plan = { ...this.plan, ...change }, steps = this.stepsFor(plan)
    const { stages, time } = this.device === null ? measuredForecast(plan, this.bench.subject, steps, await this.curvesFor(plan)) : deviceForecast(plan, this.bench.subject, steps, this.device)
    return { steps, stages, time }
  }

  /** All ways that leave each optimizer step as it is. */
  async all(ranks: number): Promise<Candidate[]> {
    const { largest, tokens } = this.stepsFor(this.plan)
    const found: Candidate[] = []
    for (const change of variants(this.plan, this.bench.subject, { ranks, longest: largest.longest, step: tokens })) {
      const { stages, time } = await this.of(change)
      found.push({
        ...change, calls: changeCalls(change, this.plan), memory: Math.max(...stages.map(({ total }) => total)), seconds: time.total, changes: changesOf(change, this.plan),
        ranksHere: this.device === null ? worldSize(meshShape(change.mesh)) : 1, reason: '',
      })
    }
    return found
  }

  stepsFor(plan: Plan): Steps {
    const key = JSON.stringify([plan.batch, dataRanks(plan.mesh)]), found = this.steps.get(key) ?? stepsOf(plan, this.bench.reader, this.device === null ? 'cpu' : 'gpu')
    this.steps.set(key, found)
    return found
  }

  curvesFor(plan: Plan): Promise<Curves> {
    const key = JSON.stringify([plan.mesh.tp, worldSize(meshShape(plan.mesh))])
    const rows = this.stepsFor({ ...this.plan, mesh: plan.mesh }).largest.rows
    const forms = this.plan.recompute === 'none' ? [false, 'attention', true] as const : [recomputed[this.plan.recompute]]
    const found = this.curves.get(key) ?? curvesOf({ ...this.plan, mesh: plan.mesh }, this.bench, rows, forms)
    this.curves.set(key, found)
    return found
  }
}

/** Bytes of a checkpoint that a run can go on from: weights as they are saved, masters and moments of what trains. */
export function checkpointBytes({ method, precision }: Plan, values: number, trainable: number): number {
  return method === 'sft' ? values * (precision === 'fp32' ? 4 : 2) + 12 * values : 4 * trainable + 12 * trainable
}
