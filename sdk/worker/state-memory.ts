import { TrainingError } from '../errors'
import { stateOf } from '../estimate/state'
import { trainableShare } from '../inspect/count'
import type { Architecture, NameMap } from '../models/architecture'
import { familyOf } from '../models/families'
import { storedWeights } from '../models/layout'
import { openWeights } from '../models/weights'
import { shareOf } from '../parallel/shares'
import { defaultLora, defaultQuantize } from '../plan/defaults'
import type { Plan } from '../plan/plan'
import type { Remedy } from '../plan/smaller'
import { gib } from '../views/format'

/** A model by its record alone: no weight of it is read. */
interface Recorded { readonly architecture: Architecture; readonly names: NameMap }

/** Settings that make a run hold less all the time, in the builder's calls and in flags, and what they make of a plan. */
const settings = {
  half: { calls: '.bf16()', flags: '--bf16 true', of: (plan: Plan): Plan => ({ ...plan, precision: 'bf16' }) },
  adapter: { calls: '.lora()', flags: '--lora true', of: (plan: Plan): Plan => ({ ...plan, method: 'lora', lora: defaultLora }) },
  few: { calls: '.quantize()', flags: '--weight_quantize_algo nf4', of: (plan: Plan): Plan => ({ ...plan, quantize: defaultQuantize }) },
} as const

/** Ways to hold less, from the one that changes least: what the plan has already is not said again. */
function waysFrom({ method, precision, quantize }: Plan): readonly (Remedy & { readonly of: (plan: Plan) => Plan })[] {
  const adapter = method === 'sft' ? [settings.adapter] : [], half = precision === 'fp32' ? [settings.half] : [], few = quantize === null ? [settings.few] : []
  return [half, adapter, [...adapter, ...half], [...adapter, ...half, ...few]].filter((way) => way.length > 0).map((way) => ({
    calls: way.map(({ calls }) => calls).join(''), flags: way.map(({ flags }) => flags).join(' '), of: (plan) => way.reduce((changed, { of }) => of(changed), plan),
  }))
}

/**
 * Refuses a run whose weights, gradients and moments alone are more than what is free, before any of them is read: it would end minutes
 * later, or take the machine with it.
 * @param free bytes that this machine, or each of its GPUs, has left
 * @param together ranks that share them
 * @throws TrainingError `train.memory` with a way that fits
 */
export function refuseState(plan: Plan, modelPath: string, free: number, together: number): void {
  if (!plan.train) return
  const weights = openWeights(modelPath)
  try {
    const { config } = weights, family = familyOf(config), architecture = family.architecture(config)
    refuse(plan, { architecture, names: family.names(architecture) }, free, together)
  } finally {
    weights.close()
  }
}

function refuse(plan: Plan, model: Recorded, free: number, together: number): void {
  const need = together * largestState(plan, model)
  if (need <= free) return
  const remedy = waysFrom(plan).find(({ of }) => together * largestState(of(plan), model) <= free * roomLeft) ?? noWay(plan, model, together)
  throw new TrainingError('train.memory',
    `weights, gradients and optimizer${together > 1 ? ` of ${together} ranks` : ''} take ${gib(need)}, and ${gib(free)} are free; nothing was loaded; try ${remedy.calls}`, { remedy: remedy.calls, remedyFlags: remedy.flags, need, free, ranks: together })
}

function noWay(plan: Plan, model: Recorded, together: number): Remedy {
  const least = waysFrom(plan).at(-1), bytes = gib(together * largestState(least?.of(plan) ?? plan, model)), text = (words?: string): string => `a smaller model: ${words === undefined ? '' : `with ${words} `}this one holds ${bytes}`
  return { calls: text(least?.calls), flags: text(least?.flags) }
}

/** Share of free memory that a remedy may hold all the time: a step needs some, too. */
const roomLeft = 0.8

/** What the rank that holds most holds all the time, in bytes. */
function largestState(plan: Plan, { architecture, names }: Recorded): number {
  const { mesh } = plan, whole = mesh.pp * mesh.tp === 1
  const own = storedWeights(architecture, names).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
  // An adapter is small beside what it is put on: one that is divided too is counted as divided evenly.
  const trainable = plan.method === 'sft' ? 0 : trainableShare(plan, architecture, names, own).parameters / (mesh.pp * mesh.tp)
  return Math.max(...Array.from({ length: mesh.pp }, (_, pp) => stateOf(plan, architecture, names, trainable, whole ? undefined : shareOf(architecture, mesh, { pp, tp: 0 })).total))
}
