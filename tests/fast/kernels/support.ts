import { call, ops, setThreads, tensor, type DType, type Tensor } from 'fettle-native'
import type { BlockContext, LinearWeights, Place, Weight } from 'fettle/dist/models/blocks/types'

// Kernels divide their work between threads, also where tests are told to take one.
setThreads(2)

/** Numbers in [−1, 1) that every machine makes alike. */
export function numbers(count: number, seed: number): Float32Array {
  const out = new Float32Array(count)
  let state = (seed * 2654435761 + 12345) >>> 0
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    out[i] = (state >>> 8) / (1 << 23) - 1
  }
  return out
}

/** A matrix of bf16-representable numbers, so that fp32 and bf16 blocks start from the same values. */
export function matrix(shape: number[], seed: number, scale = 1): Tensor {
  const count = shape.reduce((a, b) => a * b, 1), values = numbers(count, seed).map((x) => x * scale)
  return ops.to_dtype(ops.to_dtype(tensor(values, shape, 'float32'), 'bfloat16'), 'float32')
}

export const as = (t: Tensor, dtype: DType): Tensor => (t.dtype === dtype ? ops.clone(t) : ops.to_dtype(t, dtype))

/** A weight in `dtype` with a gradient that starts at `start`, or frozen. */
export function weight(value: Tensor, dtype: DType, trained: boolean): Weight {
  return { value: as(value, dtype), master: trained ? value : null, grad: trained ? ops.zeros(value.shape, { dtype: 'float32' }) : null }
}

export function context(dtype: DType, offsets: number[], rope: BlockContext['rope'], mode: BlockContext['mode'] = 'train'): BlockContext {
  return { mode, dropout: false, adapter: true, dtype, tokens: offsets[offsets.length - 1], attention: { kind: 'packed', offsets }, rope, scores: { full: null, windowed: null }, prefix: null }
}

export const place = (id: Place['id'], layer = 0): Place => ({ layer, id })

/** Largest difference over the reference's largest number. */
export function difference(actual: Tensor, reference: Tensor): number {
  const a = actual.toFloat32Array(), b = reference.toFloat32Array()
  if (a.length !== b.length) throw new RangeError(`expected ${b.length} numbers, got ${a.length}`)
  let worst = 0, largest = 1e-30
  for (let i = 0; i < b.length; i++) {
    const d = Math.abs(a[i] - b[i])
    if (!(d <= worst)) worst = d
    largest = Math.max(largest, Math.abs(b[i]))
  }
  return worst / largest
}

/** Root mean square of the difference, over the reference's. */
export function spread(actual: Tensor, reference: Tensor): number {
  const a = actual.toFloat32Array(), b = reference.toFloat32Array()
  let squares = 0, total = 0
  for (let i = 0; i < b.length; i++) {
    squares += (a[i] - b[i]) ** 2
    total += b[i] * b[i]
  }
  return Math.sqrt(squares / Math.max(total, 1e-30))
}

export interface LinearCase {
  readonly inFeatures: number
  readonly parts: readonly number[]
  /** Indices of the adapted parts. */
  readonly adapted: readonly number[]
  readonly rank: number
  readonly bias: boolean
  readonly trainWeight: boolean
  /** Of the adapter's input. Default 0. */
  readonly dropout?: number
}

/** A linear layer with its adapter, made from the case alone. */
export function linearWeights(c: LinearCase, dtype: DType): LinearWeights {
  const outFeatures = c.parts.reduce((a, b) => a + b, 0)
  const starts = c.parts.map((_, i) => c.parts.slice(0, i).reduce((a, b) => a + b, 0))
  const lora = c.adapted.length === 0 ? null : {
    a: weight(matrix([c.adapted.length * c.rank, c.inFeatures], 31, 0.3), dtype, true), dropout: c.dropout ?? 0, sumOverColumns: null,
    parts: c.adapted.map((part, i) => ({
      rowStart: starts[part], rows: c.parts[part], rankStart: i * c.rank, rank: c.rank, scale: 2 - i / 2,
      b: weight(matrix([c.parts[part], c.rank], 41 + i, 0.3), dtype, true), magnitude: null,
    })),
  }
  return {
    inFeatures: c.inFeatures, outFeatures, lora,
    weight: weight(matrix([outFeatures, c.inFeatures], 11, 0.3), dtype, c.trainWeight),
    bias: c.bias ? weight(matrix([outFeatures], 21), dtype, c.trainWeight) : null,
  }
}

/** Every gradient that a linear layer holds. */
export function linearGradients({ weight: w, bias, lora }: LinearWeights): Tensor[] {
  return [w, bias, lora?.a, ...(lora?.parts.map((p) => p.b) ?? [])].flatMap((x) => x?.grad ?? [])
}

/** The kernel levels that this machine can run. */
export function levels(): string[] {
  return ['base', 'avx2', 'avx512'].filter((level) => {
    try {
      call('fettle::use_kernels', '', level, 'auto')
      return true
    } catch {
      return false
    } finally {
      call('fettle::use_kernels', '', 'auto', 'auto')
    }
  })
}
