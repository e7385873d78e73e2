import { noGrad, ops, scope, synchronize, type Device, type DType, type Tensor } from 'fettle-native'
import type { BlockContext, Blocks, LinearWeights } from '../models/blocks/types'
import type { GemmLimit } from './types'

/** ms for each of the two kinds of product. */
const budget = 150
/** Side of the product that is measured in any case, and tells how long others take: emulated types are slow. */
const smallest = 256
const sides = [8192, 4096, 2048, 1024, 512]
/** Of each size; the first one touches its memory. */
const runs = 3

/** The fastest of a kind. */
interface Fastest { readonly rate: number; readonly size: number }

/**
 * Measures how fast large square products run with the threads that are set: those of the blocks' linear layer and ATen's,
 * about 0.15 s each. What a step reaches of the better one is its share of the machine's limit.
 * @param blocks of their own, since they plan buffers for it; freed here
 */
export function measureLimit(blocks: Blocks, device: Device, dtype: DType): GemmLimit {
  try {
    const aten = fastest(device, dtype, (x, w) => { ops.linear(x, w) }), own = fastest(device, dtype, (x, w) => {
      const rows = x.shape[0], weights: LinearWeights = { inFeatures: rows, outFeatures: rows, weight: { value: w, master: null, grad: null }, bias: null, lora: null }
      const context: BlockContext = { mode: 'infer', dropout: false, adapter: true, dtype, tokens: rows, attention: { kind: 'packed', offsets: [0, rows] }, rope: null, scores: { full: null, windowed: null }, prefix: null }
      blocks.linear.forward(x, null, weights, { layer: -1, id: 'up' }, context)
    })
    const best = own.rate > aten.rate ? own : aten
    return { best: best.rate, blocks: own.rate, aten: aten.rate, size: best.size }
  } finally {
    blocks.free()
  }
}

function fastest(device: Device, dtype: DType, product: (x: Tensor, weight: Tensor) => void): Fastest {
  const began = performance.now(), left = (): number => budget - (performance.now() - began)
  let best: Fastest = { rate: 0, size: 0 }
  const run = (size: number): void => noGrad(() => scope(() => {
    const x = random(size, device, dtype), weight = random(size, device, dtype)
    for (let i = 0; i < runs; i++) {
      const start = performance.now()
      scope(() => product(x, weight))
      synchronize(device)
      const rate = (2 * size ** 3) / (performance.now() - start) * 1000
      if (rate > best.rate) best = { rate, size }
    }
  }))
  run(smallest)
  // The largest that fits comes first: what is left of the time is for smaller ones.
  for (const size of sides) if (runs * (2 * size ** 3) / best.rate * 1000 < left()) run(size)
  return best
}

/** Not zeros: sums of such run faster on some machines than those of numbers. */
function random(size: number, device: Device, dtype: DType): Tensor {
  const values = ops.reshape(ops.sin(ops.arange(0, size * size, 1, { dtype: 'float32', device })), [size, size])
  return dtype === 'float32' ? values : ops.to_dtype(values, dtype)
}
