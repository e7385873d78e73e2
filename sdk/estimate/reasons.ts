import { gib, percent } from '../views/format'
import type { Candidate } from './types'

/** Says of each candidate why it was chosen or why not. @param plan as it stands */
export function explain(all: readonly Candidate[], free: number, plan: { readonly fits: boolean; readonly seconds: number }): Candidate[] {
  const [chosen] = all
  return all.map((candidate) => ({ ...candidate, reason: reasonOf(candidate, chosen, plan, free) }))
}

function reasonOf(candidate: Candidate, chosen: Candidate, plan: { readonly fits: boolean; readonly seconds: number }, free: number): string {
  const need = candidate.memory * candidate.ranksHere
  if (need > free) return `needs ${gib(need - free)} more than is free`
  if (candidate !== chosen) return candidate.seconds <= chosen.seconds * 1.02 ? 'as fast, with more changes' : `${percent(candidate.seconds / chosen.seconds - 1)} slower`
  if (candidate.changes === 0) return 'chosen: nothing that fits is faster than the plan as it stands'
  if (!plan.fits) return `chosen: the fastest that fits${candidate.recompute === 'none' ? '' : ', at the price of recompute'}`
  return `chosen: ${percent(1 - candidate.seconds / plan.seconds)} faster than the plan as it stands`
}
