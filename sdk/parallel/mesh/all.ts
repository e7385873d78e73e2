import type { MeshPlan } from '../../plan/plan'

/**
 * Degrees of all meshes of so many ranks: divisors of their number. Of an adapter nothing is divided but the model under it.
 * @param allTrain all weights train, not an adapter
 */
export function meshesOf(ranks: number, allTrain: boolean): Pick<MeshPlan, 'dp' | 'sharding' | 'pp' | 'tp'>[] {
  return divisors(ranks).flatMap((tp) => divisors(ranks / tp).flatMap((pp) => divisors(ranks / tp / pp).flatMap((degree) => {
    const stages = degree === 1 ? [0 as const] : allTrain ? [1 as const, 2 as const, 3 as const] : [3 as const]
    return stages.map((stage) => ({ dp: ranks / tp / pp / degree, sharding: { degree, stage }, pp, tp }))
  })))
}

function divisors(of: number): number[] { return Array.from({ length: of }, (_, i) => i + 1).filter((degree) => of % degree === 0) }
