import { meshesOf } from '../parallel/mesh/all'
import { fitsMesh } from '../parallel/mesh/fit'
import { dataRanks, meshCalls, meshShape } from '../parallel/mesh/shape'
import { worldSize } from '../parallel/mesh/mesh'
import { defaultMesh } from '../plan/defaults'
import type { MeshPlan, Plan } from '../plan/plan'
import type { Candidate, FitChange } from './types'
import type { Subject } from './measured'

/** Budgets that are tried, tokens of a forward and backward pass. */
const budgets = [256, 512, 1024, 2048, 4096, 8192, 16384, 32768] as const

/** What may be changed so that each optimizer step stays what it is: what the plan leaves open. */
export function variants(plan: Plan, subject: Subject, { ranks, longest, step }: { readonly ranks: number; readonly longest: number; readonly step: number }): FitChange[] {
  const recompute = plan.recompute === 'none' ? (['none', 'full_attn', 'full'] as const) : [plan.recompute]
  return meshesFor(plan, subject, ranks).flatMap((mesh) => {
    const base = sameRows(plan, mesh)
    if (base === null) return []
    const own = step / dataRanks(mesh)
    const tokens = plan.batch.tokens !== null ? [plan.batch.tokens] : [null, ...budgets.filter((budget) => budget >= longest / 2 && budget < 2 * own)]
    return tokens.flatMap((budget) => recompute.map((again): FitChange => ({ mesh, batch: { ...base, tokens: budget }, recompute: again })))
  })
}

/** The plan's own mesh where it says one; else all of so many ranks. */
function meshesFor(plan: Plan, { architecture }: Subject, ranks: number): MeshPlan[] {
  if (worldSize(meshShape(plan.mesh)) > 1 || ranks === 1) return [plan.mesh]
  return meshesOf(ranks, plan.method === 'sft').map((mesh): MeshPlan => ({ ...defaultMesh, devices: plan.mesh.devices, ...mesh })).filter((mesh) => fitsMesh(mesh, architecture))
}

/** Rows of a batch and batches of a step with which a step has the same rows on another mesh; `null`: there are none. */
function sameRows({ batch, mesh: own }: Plan, mesh: MeshPlan): Plan['batch'] | null {
  const rows = batch.size * batch.accumulate * dataRanks(own) / dataRanks(mesh)
  if (!Number.isInteger(rows)) return null
  const size = Array.from({ length: Math.min(batch.size, rows) }, (_, i) => Math.min(batch.size, rows) - i).find((each) => rows % each === 0)!
  return { ...batch, size, accumulate: rows / size }
}

/** The fastest that fits first, then the others that fit by time, then what does not fit by memory. Of those that take as long (within 2%), the one that changes least is the better. */
export function ordered(all: readonly Candidate[], free: number): Candidate[] {
  const fits = (candidate: Candidate): boolean => candidate.memory * candidate.ranksHere <= free
  const fastest = Math.min(...all.filter(fits).map(({ seconds }) => seconds)), close = (seconds: number): number => (seconds <= fastest * 1.02 ? 0 : seconds)
  return [...all].sort((a, b) => Number(fits(b)) - Number(fits(a)) || (fits(a) ? close(a.seconds) - close(b.seconds) || a.changes - b.changes || a.seconds - b.seconds : a.memory - b.memory))
}

/** A change as the builder's calls. */
export function changeCalls({ mesh, batch, recompute }: FitChange, from: Plan): string {
  const calls = [
    meshCalls(mesh) !== meshCalls(from.mesh) ? meshCalls(mesh) : '', batch.size !== from.batch.size ? `.batch(${batch.size})` : '', batch.accumulate !== from.batch.accumulate ? `.accumulate(${batch.accumulate})` : '',
    batch.tokens !== from.batch.tokens ? `.tokenBudget(${batch.tokens})` : '', recompute !== from.recompute ? `.recompute('${recompute}')` : '',
  ]
  return calls.join('') || 'as planned'
}

/** How many settings a change touches. */
export function changesOf({ mesh, batch, recompute }: FitChange, from: Plan): number {
  return Number(meshCalls(mesh) !== meshCalls(from.mesh)) + Number(batch.tokens !== from.batch.tokens) + Number(recompute !== from.recompute)
}

