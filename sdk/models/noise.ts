import { getRngState, manualSeed, ops, scope, setRngState, tensor, type Device, type Tensor } from 'fettle-native'
import type { Attention } from './batch'
import { onDevice } from './device'

/** Noise on the embeddings of one batch: its strength, and the seed that it is drawn from each time that it is needed. */
export interface EmbeddingNoise { readonly alpha: number; readonly seed: number }

/**
 * x + U(−m, m) with m = alpha / √(L · width), L the length of the token's own sequence, packed or not (NEFTune,
 * arXiv:2310.05914). The same batch gets the same noise at each call, so that a second forward repeats the first; the
 * default generators, which dropout draws from, stay where they were.
 * @param x embeddings `[N, width]`
 */
export function addNoise(x: Tensor, { alpha, seed }: EmbeddingNoise, attention: Attention): Tensor {
  return scope(() => {
    const [tokens, width] = x.shape, { device } = x
    const draws = withSeed(seed, device, () => ops.sub(ops.mul(ops.rand([tokens, width], { dtype: 'float32', device }), 2), 1))
    const bounds = onDevice(tensor(boundsOf(attention, tokens, alpha, width), [tokens, 1]), device)
    return ops.add(x, ops.to(ops.mul(draws, bounds), { dtype: x.dtype }))
  })
}

/** Runs with the default generators seeded; afterwards they stand where they stood. */
export function withSeed<T>(seed: number, device: Device, run: () => T): T {
  const places = device === 'cpu' ? ['cpu'] : ['cpu', device], before = places.map((place) => getRngState(place))
  manualSeed(seed)
  try {
    return run()
  } finally {
    places.forEach((place, i) => setRngState(before[i], place))
  }
}

/** m of each token. */
function boundsOf(attention: Attention, tokens: number, alpha: number, width: number): Float32Array {
  const bounds = new Float32Array(tokens)
  const offsets = attention.kind === 'masked' ? Array.from({ length: attention.rows + 1 }, (_, row) => row * attention.length) : attention.offsets
  for (let i = 0; i + 1 < offsets.length; i++) bounds.fill(alpha / Math.sqrt((offsets[i + 1] - offsets[i]) * width), offsets[i], offsets[i + 1])
  return bounds
}

/** A seed for the noise of one micro-batch of one step: a resume draws what the run would have drawn. */
export function noiseSeed(seed: number, step: number, microBatch: number): number {
  let mixed = 0x9e3779b9
  for (const part of [seed, Math.floor(seed / 2 ** 32), step, microBatch]) {
    mixed = Math.imul(mixed ^ (part >>> 0), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    mixed ^= mixed >>> 16
  }
  return mixed >>> 0
}
