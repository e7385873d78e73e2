import { PlanError } from '../../errors'
import type { Architecture } from '../../models/architecture'
import type { LayerRange } from '../../models/share'

/** What stands before the first layer and behind the last, in the cost of one layer. */
export interface EndCosts { readonly embedding: number; readonly head: number }

/**
 * Cuts layers into one range a stage, each at least one layer, so that the costliest stage costs as little as can be. Of
 * all such cuts it is the most even one, and of these the one with fewer layers in front, where more batches are in flight.
 *
 * @throws {PlanError} `mesh.layers` where there are more stages than layers.
 */
export function stageLayers(layers: number, stages: number, ends: EndCosts): readonly LayerRange[] {
  if (stages > layers) throw new PlanError('mesh.layers', `${stages} pipeline stages need ${stages} layers at least, and the model has ${layers}; try ${layers} stages or fewer`, { stages, layers })
  const cost = (stage: number, count: number): number => count + (stage === 0 ? ends.embedding : 0) + (stage === stages - 1 ? ends.head : 0)
  const largest = best(layers, stages, cost, Math.max).total
  const even = best(layers, stages, (stage, count) => (cost(stage, count) > largest ? Infinity : cost(stage, count) ** 2), (a, b) => a + b)
  let start = 0
  return even.counts.map((count) => ({ start, end: start += count }))
}

/** Layers a stage with the least total, by dynamic programming over (stage, layers before it). */
function best(layers: number, stages: number, cost: (stage: number, count: number) => number, join: (a: number, b: number) => number): { total: number; counts: number[] } {
  /** `total[s][n]`: least total of the last stages, from s on, over n layers. */
  const total = Array.from({ length: stages }, () => new Array<number>(layers + 1).fill(Infinity))
  const first = Array.from({ length: stages }, () => new Array<number>(layers + 1).fill(0))
  for (let stage = stages - 1; stage >= 0; stage--) {
    for (let rest = stages - stage; rest <= layers; rest++) {
      const after = stages - 1 - stage
      for (let count = after === 0 ? rest : 1; count <= rest - after; count++) {
        const value = after === 0 ? cost(stage, count) : join(cost(stage, count), total[stage + 1][rest - count])
        if (value < total[stage][rest]) { total[stage][rest] = value; first[stage][rest] = count }
      }
    }
  }
  const counts: number[] = []
  for (let stage = 0, rest = layers; stage < stages; rest -= first[stage++][rest]) counts.push(first[stage][rest])
  return { total: total[0][layers], counts }
}

/**
 * What the ends of a model cost in layers, by the multiplications of their matrices for one token: the head where every
 * token is supervised. Looking up an embedding multiplies nothing.
 */
export function stageCosts({ vocabSize, hiddenSize, heads, kvHeads, headDim, intermediateSize, embedding, mlp }: Architecture): EndCosts {
  const qkv = hiddenSize * (heads + 2 * kvHeads) * headDim, out = heads * headDim * hiddenSize
  const up = hiddenSize * intermediateSize * (mlp.kind === 'gated' ? 2 : 1), down = intermediateSize * hiddenSize
  const layer = qkv + out + up + down
  const projection = embedding.dim === hiddenSize ? 0 : embedding.dim * hiddenSize
  return { embedding: projection / layer, head: (vocabSize * embedding.dim + projection) / layer }
}
