import type { Architecture, NameMap } from '../../models/architecture'
import { storedWeights } from '../../models/layout'
import type { Share } from '../../models/share'
import type { MeshPlan } from '../../plan/plan'
import { rangesOf, shareOf } from '../shares'

/** What a step trains, as plain numbers: nothing is loaded. */
export interface Workload {
  readonly model: { readonly architecture: Architecture; readonly names: NameMap }
  /** Bytes of a value that is computed with: 4 in fp32, 2 in bf16. */
  readonly valueBytes: 2 | 4
  /** Rows of a step, over all ranks. */
  readonly rows: number
  readonly rowTokens: number
  /** Rows of a micro-batch on one replica. */
  readonly microRows: number
  /** Rank of an adapter on all linear layers of a frozen model; `null`: all weights train. */
  readonly adapterRank: number | null
  /** Layers run again in the backward. */
  readonly recompute: boolean
}

/** How many values a rank holds of one layer, or of what stands outside all. */
export interface Holding {
  /** The layer; `null`: embedding, last norm or head. */
  readonly layer: number | null
  readonly trained: number
  readonly frozen: number
  /** Values of matrices that each token is multiplied by. */
  readonly multiplied: number
  /** First and last stage both hold it (tied head): their gradients are summed. */
  readonly atBothEnds: boolean
}

/** Micro-batches of a step on each replica. */
export function microBatches({ rows, microRows }: Pick<Workload, 'rows' | 'microRows'>, { dp, sharding }: MeshPlan): number { return rows / (dp * sharding.degree * microRows) }

const known = new WeakMap<Workload['model'], Map<string, readonly (readonly Holding[])[]>>()

/** What the first tensor rank of a stage holds, by layers, in the order of storage. Kept: a search asks for the same again and again. */
export function holdings({ model, adapterRank }: Workload, mesh: MeshPlan, stage: number): readonly Holding[] {
  const cache = known.get(model) ?? new Map<string, readonly (readonly Holding[])[]>(), key = [mesh.tp, mesh.pp, mesh.virtual, adapterRank].join()
  known.set(model, cache)
  const found = cache.get(key) ?? countStages(model, adapterRank, mesh)
  cache.set(key, found)
  return found[stage]
}

function countStages(model: Workload['model'], adapterRank: number | null, mesh: MeshPlan): Holding[][] {
  const { architecture } = model, ranges = rangesOf(architecture, mesh)
  return Array.from({ length: mesh.pp }, (_, stage) => countHoldings(model, adapterRank, shareOf(architecture, mesh, { pp: stage, tp: 0 }, ranges)))
}

function countHoldings({ architecture, names }: Workload['model'], adapterRank: number | null, share: Share): Holding[] {
  const byLayer = new Map<number, Holding>()
  for (const { key, layer, shape, parts, partial } of storedWeights(architecture, names, share)) {
    const values = shape.reduce((a, b) => a * b, 1), isLayer = layer >= 0 && layer < architecture.layers, isMatrix = shape.length === 2
    const adapter = adapterRank !== null && isLayer && isMatrix ? adapterRank * (parts.length * shape[1] + shape[0]) : 0
    const isHead = key === 'head' || (key === 'embedding' && architecture.tiedHead && share.last)
    const sum = byLayer.get(layer) ?? { layer: isLayer ? layer : null, trained: 0, frozen: 0, multiplied: 0, atBothEnds: partial === 'ends' }
    byLayer.set(layer, {
      ...sum, trained: sum.trained + (adapterRank === null ? values : adapter), frozen: sum.frozen + (adapterRank === null ? 0 : values),
      multiplied: sum.multiplied + (isMatrix && (isLayer || isHead || key.startsWith('project')) ? values : 0),
    })
  }
  return [...byLayer.values()]
}
