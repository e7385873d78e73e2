import { stepMemory } from '../../models/memory'
import type { MeshPlan } from '../../plan/plan'
import { scheduleOf } from '../pipeline/schedule'
import { holdings, microBatches, type Holding, type Workload } from './workload'

/** Bytes of a rank, by what they are for. */
export interface Footprint {
  /** Values that are computed with, and masters where they are others. */
  readonly parameters: number
  readonly gradients: number
  /** Two moments of AdamW. */
  readonly moments: number
  /** Gradients on their way to other ranks. */
  readonly transit: number
  /** What the backward needs of all micro-batches that are in flight. */
  readonly activations: number
  readonly total: number
}

/** Memory of a rank of a stage. Lower bound: the library, the head's block of logits and what lies between kernels come on top. */
export function footprint(workload: Workload, mesh: MeshPlan, stage: number): Footprint {
  const held = state(workload, mesh, holdings(workload, mesh, stage)), activations = activationBytes(workload, mesh, stage)
  return { ...held, activations, total: held.parameters + held.gradients + held.moments + held.transit + activations }
}

function state({ valueBytes, adapterRank }: Workload, { sharding: { degree, stage } }: MeshPlan, all: readonly Holding[]): Omit<Footprint, 'activations' | 'total'> {
  const sum = (of: 'trained' | 'frozen', which: (holding: Holding) => boolean = () => true): number => all.filter(which).reduce((total, each) => total + each[of], 0)
  const inLayer = ({ layer }: Holding): boolean => layer !== null, outside = ({ layer }: Holding): boolean => layer === null
  const largest = (of: 'trained' | 'frozen', which = inLayer): number => Math.max(0, ...all.filter(which).map((each) => each[of]))
  /** Whole, or a share and the two buffers that layers take in turns. */
  const divided = (of: 'trained' | 'frozen', from: number): number => (stage >= from && degree > 1 ? sum(of, outside) + 2 * largest(of) : sum(of))
  const copy = valueBytes === 4 ? 0 : valueBytes, trained = sum('trained')
  if (adapterRank !== null || degree === 1) {
    const frozen = adapterRank === null ? 0 : valueBytes * (stage === 3 && degree > 1 ? sum('frozen') / degree + divided('frozen', 3) : sum('frozen'))
    return { parameters: frozen + trained * (4 + copy), gradients: 4 * trained, moments: 8 * trained, transit: 0 }
  }
  const share = trained / degree
  return {
    parameters: valueBytes * divided('trained', 3) + share * (4 + copy), gradients: 4 * (divided('trained', 2) + share), moments: 8 * share,
    // Two units at once, each as it is sent and as it comes.
    transit: 16 * Math.max(largest('trained'), largest('trained', outside)),
  }
}

function activationBytes(workload: Workload, mesh: MeshPlan, stage: number): number {
  const { model: { architecture: a }, valueBytes, rowTokens, microRows, recompute } = workload, { tp, pp, virtual } = mesh
  const layers = holdings(workload, mesh, stage).filter(({ layer }) => layer !== null).length / virtual
  const micros = microBatches(workload, mesh)
  // Two rounds of micro-batches reach the most that interleaved stages hold.
  const inFlight = virtual === 1 ? Math.min(micros, pp - stage) : mostOpen(scheduleOf(pp, virtual, Math.min(micros, 2 * pp), stage))
  const local = { ...a, layers: layers * inFlight, heads: a.heads / tp, kvHeads: Math.max(1, a.kvHeads / tp), intermediateSize: a.intermediateSize / tp }
  return stepMemory(local, { tokens: microRows * rowTokens, longest: rowTokens, bytesPerValue: valueBytes, recompute })
}

/** Most micro-batches between forward and backward at once, over all chunks. */
function mostOpen(tasks: readonly { readonly kind: 'forward' | 'backward' }[]): number {
  let open = 0
  return tasks.reduce((most, { kind }) => Math.max(most, open += kind === 'forward' ? 1 : -1), 0)
}
