import { PlanError } from '../errors'
import { Shown } from '../inspect/shown'
import { planOf, type PlanSource } from '../inspect/source'
import { freeMainMemory } from '../models/free-memory'
import { storedWeights } from '../models/layout'
import { PlanBuilder } from '../plan/builder'
import { deepFreeze } from '../plan/freeze'
import type { Plan } from '../plan/plan'
import { refusal } from '../plan/refuse'
import { meshShape } from '../parallel/mesh/shape'
import { worldSize } from '../parallel/mesh/mesh'
import { refuseMesh } from '../parallel/mesh/fit'
import { forecastView, type TextAndHtml } from '../views/objects'
import { gib } from '../views/format'
import { assumed, deviceNamed } from './catalogue'
import { checkpointBytes, Predictor } from './predict'
import { explain } from './reasons'
import { ordered } from './search'
import { openBench } from './subject'
import { usableMemory } from './on-device'
import type { ForecastFacts, MemoryParts } from './types'

/** Options of {@link plan}; all optional. */
export interface ForecastOptions {
  /** `'this'` machine, which is measured; or a device of the catalogue, such as `'h100-80gb'`, which is not. Default `'this'`. */
  readonly device?: string
  /** Ranks that meshes are searched for, where the plan says none. At least 1. Default: those of the plan. */
  readonly ranks?: number
  /** `false`: the plan alone is predicted, and other ways to run it are not. Default true. */
  readonly search?: boolean
  /** s that measuring may take, about; less for small models, and nothing for what was measured before. Above 0. Default 10. */
  readonly seconds?: number
  /** Bytes that may be taken. Default: what is free on this machine, or what the device has. */
  readonly memory?: number
  /** Called while data is prepared and steps are measured. */
  readonly onProgress?: (progress: { readonly stage: string; readonly share: number | null }) => void
}

/** What a plan would take, and the fastest way to run it that fits. As a cell's last value it shows memory, time and all that was tried. */
export interface Forecast<S extends PlanSource = PlanSource> extends ForecastFacts {}
// The fields are those of ForecastFacts, said once.
export class Forecast<S extends PlanSource = PlanSource> extends Shown {
  readonly #source: S

  /** @internal Use `plan(builder)`. */
  constructor(facts: ForecastFacts, source: S) {
    super()
    Object.assign(this, facts)
    this.#source = source
    Object.freeze(this)
  }

  /**
   * The plan with what was chosen: mesh, token budget, recompute. Each optimizer step computes what it did before. A builder gives a
   * builder, a plan a plan.
   * @throws PlanError `plan.memory` when nothing that was tried fits
   */
  fit(): S extends PlanBuilder ? S : Plan {
    const [chosen] = this.candidates
    if (chosen === undefined || chosen.memory * chosen.ranksHere > this.free) throw tooLarge(this)
    const change = { mesh: chosen.mesh, batch: chosen.batch, recompute: chosen.recompute }
    return (this.#source instanceof PlanBuilder ? this.#source.fitted(change) : deepFreeze({ ...this.plan, ...change })) as S extends PlanBuilder ? S : Plan
  }

  protected override view(): TextAndHtml { return forecastView(this) }
}

/**
 * Predicts a run before anything is spent: memory of each rank by what it is for, time of a step, tokens/s, size of a checkpoint, time of all
 * its steps; and searches mesh, token budget, recompute and sharding for the fastest way that fits. On this machine a few layers of
 * the model are measured in a process of their own, once; a device of the catalogue is computed from its data sheet.
 *
 * ```ts
 * const forecast = await plan(sft('builtin:smollm2-135m').data('data/pronounce').lora())
 * await forecast.fit().start()
 * ```
 *
 * @param source A builder, a run or a plan.
 * @throws PlanError `plan.memory` when neither the plan nor anything that was tried fits; ModelError, DataError as the run itself would
 */
export async function plan<S extends PlanSource>(source: S, options: ForecastOptions = {}): Promise<Forecast<S>> {
  checkOptions(options)
  const of = planOf(source, 'plan'), { device = 'this', search = true, seconds = 10, onProgress } = options, sheet = device === 'this' ? null : deviceNamed(device)
  if (sheet === null && of.device === 'cuda') throw new PlanError('plan.device', "what is measured on this machine is its CPU, and the plan computes on a GPU; name it: plan(builder, { device: 'h100-80gb' }) / --device", { device: of.device })
  const bench = { ...await openBench(of, () => onProgress?.({ stage: 'preparing data', share: null })), seconds, onProgress: (share: number) => onProgress?.({ stage: 'measuring steps', share }) }
  refuseMesh(of.mesh, bench.subject.architecture, null)
  const predictor = new Predictor(of, bench, sheet), own = await predictor.of(of), ranks = worldSize(meshShape(of.mesh)), perHost = sheet === null ? ranks : 1
  const free = options.memory ?? (sheet === null ? freeMainMemory() : usableMemory(sheet)), largest = own.stages.reduce((a, b) => (b.total > a.total ? b : a))
  const all = search ? ordered(await predictor.all(options.ranks ?? ranks), free) : []
  const fits = largest.total * perHost <= free
  const { architecture, names, trainable } = bench.subject, values = storedWeights(architecture, names).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
  const facts: ForecastFacts = {
    plan: of, device: sheet?.title ?? 'this machine', measured: sheet === null, form: sheet === null ? (await predictor.curvesFor(of)).calibration.form : 'plain', free, memory: own.stages, time: own.time, steps: own.steps.total,
    tokens: own.steps.tokens, tokensPerSecond: own.steps.tokens / own.time.total, checkpoint: checkpointBytes(of, values, trainable), seconds: own.steps.total * own.time.total, fits,
    candidates: explain(all, free, { fits, seconds: own.time.total }), notes: notesOf(sheet === null),
  }
  const any = fits || facts.candidates.some((candidate) => candidate.memory * candidate.ranksHere <= free)
  if (!any) throw tooLarge(facts)
  return new Forecast(facts, source)
}

function notesOf(measured: boolean): string[] {
  if (measured) return []
  return [`Not measured: computed from the device's data sheet, at ${assumed.efficiency * 100}% of its products a second and ${assumed.bandwidth * 100}% of its bandwidth, both assumed.`]
}

function checkOptions({ ranks, seconds, memory }: ForecastOptions): void {
  if (ranks !== undefined && !(Number.isInteger(ranks) && ranks >= 1)) throw refusal('ranks of plan()', 'a whole number from 1 up', ranks, 'ranks: 2')
  for (const [name, value, usual] of [['seconds', seconds, 10], ['memory', memory, 8e9]] as const) if (value !== undefined && !(value > 0)) throw refusal(`${name} of plan()`, 'a number above 0', value, `${name}: ${usual}`)
}

/** @internal The largest part of what does not fit, and the least that was tried. */
export function tooLarge(facts: ForecastFacts): PlanError {
  const stage = facts.memory.reduce((a, b) => (b.total > a.total ? b : a)), [name, bytes] = largestPart(stage), least = facts.candidates[0]
  const tried = least === undefined ? '' : `; the smallest way that was tried, ${least.calls}, needs ${gib(least.memory * least.ranksHere)}`
  const remedy = name === 'activations' || name === 'workspace' ? 'shorter rows: .data(path, { maxLength: n }), or .bf16()' : facts.plan.method === 'sft' ? '.lora() with .bf16(), or a smaller model' : 'a smaller model, .bf16() or .quantize()'
  return new PlanError('plan.memory', `the plan needs ${gib(stage.total)} on ${facts.device}, of which ${gib(bytes)} are ${name}, and ${gib(facts.free)} are free${tried}; try ${remedy}`, { need: stage.total, free: facts.free, part: name, bytes, remedy })
}

function largestPart(parts: MemoryParts): readonly [keyof MemoryParts, number] {
  return (Object.entries(parts) as [keyof MemoryParts, number][]).filter(([name]) => name !== 'total').reduce((a, b) => (b[1] > a[1] ? b : a))
}
