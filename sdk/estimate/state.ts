import type { Architecture, NameMap } from '../models/architecture'
import { storedWeights } from '../models/layout'
import type { Share } from '../models/share'
import type { Plan, QuantizePlan } from '../plan/plan'

/** Bytes of what a rank holds from its first step to its last. */
export interface StateBytes {
  /** Frozen values, and those that train in the type that they are computed with, with their fp32 masters. */
  readonly weights: number
  readonly gradients: number
  /** Two moments of AdamW. */
  readonly optimizer: number
  readonly total: number
}

/** Bytes of a value that is computed with. */
export function valueBytes({ precision, fp16 }: Pick<Plan, 'precision' | 'fp16'>): 2 | 4 {
  return precision === 'bf16' || (precision === 'fp16' && fp16.level === 'O2') ? 2 : 4
}

/**
 * Weights, gradients and optimizer of a rank.
 * @param trainable values of the adapter, where one trains
 * @param share what of the model the rank holds; left out: all
 */
export function stateOf(plan: Pick<Plan, 'method' | 'precision' | 'fp16' | 'quantize' | 'mesh'>, architecture: Architecture, names: NameMap, trainable: number, share?: Share): StateBytes {
  const bytes = valueBytes(plan), stored = storedWeights(architecture, names, share), values = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
  const all = stored.reduce((sum, { shape }) => sum + values(shape), 0), copy = bytes === 4 ? 0 : bytes
  if (plan.method !== 'sft') {
    const frozen = plan.quantize === null ? bytes * all : quantizedBytes(plan.quantize, stored.map(({ shape, layer }) => ({ values: values(shape), rows: shape[0], layer: shape.length === 2 && layer >= 0 && layer < architecture.layers ? layer : null })), bytes)
    return whole(divide(frozen, plan, stored, bytes, architecture.layers) + trainable * (4 + copy), 4 * trainable, 8 * trainable)
  }
  const { degree, stage } = plan.mesh.sharding
  if (degree === 1) return whole(all * (4 + copy), 4 * all, 8 * all)
  const perLayer = layerValues(stored, architecture.layers), outside = all - perLayer.reduce((sum, each) => sum + each, 0), largest = Math.max(...perLayer)
  // Divided: a share of each, and whole only what stands outside the layers and the two layers that are at work.
  const held = (from: number): number => (stage >= from ? outside + 2 * largest : all)
  return whole(bytes * held(3) + all / degree * (4 + copy), 4 * (held(2) + all / degree), 8 * all / degree)
}

function whole(weights: number, gradients: number, optimizer: number): StateBytes { return { weights, gradients, optimizer, total: weights + gradients + optimizer } }

type Stored = ReturnType<typeof storedWeights>

function layerValues(stored: Stored, layers: number): number[] {
  const sums = new Map<number, number>()
  for (const { shape, layer } of stored) if (layer >= 0 && layer < layers) sums.set(layer, (sums.get(layer) ?? 0) + shape.reduce((a, b) => a * b, 1))
  return [...sums.values()]
}

/** Frozen weights under an adapter: stage 3 divides them. */
function divide(frozen: number, { mesh: { sharding: { degree, stage } } }: Pick<Plan, 'mesh'>, stored: Stored, bytes: number, layers: number): number {
  if (stage < 3 || degree === 1) return frozen
  const perLayer = layerValues(stored, layers), inLayers = bytes * perLayer.reduce((sum, each) => sum + each, 0)
  return frozen - inLayers + inLayers / degree + 2 * bytes * Math.max(...perLayer)
}

/** Matrices of layers in few bits with their scales, and the two layers that are whole at a time. */
function quantizedBytes({ algorithm, blockSize, doubleQuant, doubleQuantBlockSize }: QuantizePlan, stored: readonly { readonly values: number; readonly rows: number; readonly layer: number | null }[], bytes: number): number {
  const bits = algorithm === 'weight_only_int8' ? 8 : 4, byRow = algorithm.startsWith('weight_only')
  const scale = doubleQuant ? 1 + 4 / doubleQuantBlockSize : 4
  const layers = new Map<number, number>()
  let sum = 0
  for (const { values, rows, layer } of stored) {
    if (layer === null) { sum += bytes * values; continue }
    layers.set(layer, (layers.get(layer) ?? 0) + values)
    sum += values * bits / 8 + (byRow ? 4 * rows : scale * values / blockSize)
  }
  return sum + 2 * bytes * Math.max(0, ...layers.values())
}
