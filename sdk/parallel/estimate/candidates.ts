import type { MeshPlan } from '../../plan/plan'
import { meshesOf } from '../mesh/all'
import { fitsMesh } from '../mesh/fit'
import { simulate, type Cluster, type Estimate } from './simulate'
import { microBatches, type Workload } from './workload'

/** A mesh with what it would take. */
export interface Candidate { readonly mesh: MeshPlan; readonly recompute: boolean; readonly estimate: Estimate }

/**
 * Every mesh of so many ranks that the model can have and whose ranks fit into their memory, fastest first. Degrees are divisors of the
 * number of ranks; `virtual` is 1 or 2; tensor ranks stay within a node; each with layers run again in the backward and without.
 */
export function candidates(workload: Omit<Workload, 'recompute'>, cluster: Cluster, ranks: number): Candidate[] {
  const found = meshes(workload, cluster, ranks).flatMap((mesh) => [false, true].map((recompute): Candidate => ({ mesh, recompute, estimate: simulate({ ...workload, recompute }, mesh, cluster) })))
  return found.filter(({ estimate }) => estimate.memory.total <= cluster.memory).sort((a, b) => a.estimate.seconds - b.estimate.seconds)
}

function meshes(workload: Omit<Workload, 'recompute'>, { perNode }: Cluster, ranks: number): MeshPlan[] {
  const whole = meshesOf(ranks, workload.adapterRank === null).filter(({ tp }) => tp <= perNode)
  return whole.flatMap((mesh) => (mesh.pp === 1 ? [1] : [1, 2]).map((virtual): MeshPlan => ({ ...mesh, virtual, sequenceParallel: false, devices: null })))
    .filter((mesh) => fitsMesh(mesh, workload.model.architecture) && Number.isInteger(microBatches(workload, mesh)))
}
