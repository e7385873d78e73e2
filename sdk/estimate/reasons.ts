import { gib, percent } from '../views/format'
import type { Candidate } from './types'

/** Says of each candidate why it was chosen or why not. @param planFits the plan as it stands fits */
export function explain(all: readonly Candidate[], free: number, planFits: boolean): Candidate[] {
  const [chosen] = all, asPlanned = all.find(({ changes }) => changes === 0)
  return all.map((candidate) => ({ ...candidate, reason: reasonOf(candidate, chosen, asPlanned, free, planFits) }))
}

function reasonOf(candidate: Candidate, chosen: Candidate, asPlanned: Candidate | undefined, free: number, planFits: boolean): string {
  const need = candidate.memory * candidate.ranksHere
  if (need > free) return `needs ${gib(need - free)} more than is free`
  if (candidate !== chosen) return candidate.seconds <= chosen.seconds * 1.02 ? 'as fast, with more changes' : `${percent(candidate.seconds / chosen.seconds - 1)} slower`
  if (candidate.changes === 0) return 'chosen: nothing that fits is faster than the plan as it stands'
  if (!planFits) return `chosen: the plan as it stands does not fit, and this is the fastest that does${candidate.recompute === 'none' ? '' : '; recompute gives up time for memory'}`
  return `chosen: ${percent(1 - candidate.seconds / (asPlanned?.seconds ?? candidate.seconds))} faster than the plan as it stands`
}
