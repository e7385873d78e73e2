import { call, ops, scope, tensor, type Device, type Tensor } from 'fettle-native'
import { inType, onDevice } from '../device'

/** How frozen weights are kept in few bits. */
export type QuantizeAlgorithm = 'nf4' | 'fp4' | 'weight_only_int8' | 'weight_only_int4'

/** Algorithm and block sizes. */
export interface Quantization {
  readonly algorithm: QuantizeAlgorithm
  /** Neighbouring values that share a scale (nf4 and fp4); the others have one for each row. */
  readonly blockSize: number
  /** The scales themselves are kept in 8 bits, this many to a scale of theirs; `null`: in fp32. */
  readonly doubleBlockSize: number | null
}

/** Values of the 4-bit codes, in ascending order: quantiles of a normal distribution (QLoRA, arXiv 2305.14314, appendix E), and a float of 3 bits with sign. */
const tables = {
  nf4: [
    -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
  ],
  fp4: [-1, -2 / 3, -0.5, -1 / 3, -0.25, -1 / 6, -1 / 192, 0, 0, 1 / 192, 1 / 6, 0.25, 1 / 3, 0.5, 2 / 3, 1],
  weight_only_int4: Array.from({ length: 16 }, (_, i) => (i - 8) / 7),
} as const

/** Scales: fp32, or 8 bits with a mean and scales of their own. */
type Scales = { readonly plain: Tensor } | { readonly codes: Tensor; readonly mean: number; readonly scales: Tensor; readonly block: number }

/** A matrix in few bits. Tensors belong to who made it. */
export interface Quantized {
  readonly shape: readonly number[]
  readonly algorithm: QuantizeAlgorithm
  /** Values that share a scale. */
  readonly block: number
  /** uint8, two codes a byte, the first in the upper half; int8 where the algorithm has 8 bits. */
  readonly codes: Tensor
  readonly scales: Scales
}

/** Values that are made fp32 at once. */
const chunk = 1 << 22

/**
 * A matrix in few bits, each value as the nearest code times the largest magnitude of its block. Call inside a scope.
 * @param weight `[rows, columns]`
 */
export function quantize(weight: Tensor, { algorithm, blockSize, doubleBlockSize }: Quantization): Quantized {
  const { shape } = weight, count = weight.numel, byRow = algorithm === 'weight_only_int8' || algorithm === 'weight_only_int4'
  const block = byRow ? shape[1] : blockSize, blocks = Math.ceil(count / block)
  const flat = ops.reshape(weight, [count]), most = ops.empty([blocks], { dtype: 'float32', device: weight.device })
  const bytes = algorithm === 'weight_only_int8' ? blocks * block : Math.ceil((blocks * block) / 2)
  const codes = ops.zeros([bytes], { dtype: algorithm === 'weight_only_int8' ? 'int8' : 'uint8', device: weight.device })
  const step = Math.max(2, 2 * Math.floor(chunk / block / 2))
  for (let first = 0; first < blocks; first += step) {
    scope(() => {
      const taken = Math.min(step, blocks - first), values = inBlocks(flat, first * block, taken * block, [taken, block])
      const largest = ops.amax(ops.abs(values), [1])
      ops.copy_(ops.narrow(most, 0, first, taken), largest)
      const scaled = ops.div(values, ops.unsqueeze(ops.where(ops.gt(largest, 0), largest, ops.ones_like(largest)), 1))
      const found = codesOf(scaled, algorithm)
      const [start, length] = algorithm === 'weight_only_int8' ? [first * block, found.numel] : [(first * block) / 2, found.numel]
      ops.copy_(ops.narrow(codes, 0, start, length), found)
    })
  }
  return { shape, algorithm, block, codes, scales: doubleBlockSize === null || byRow ? { plain: most } : inEightBits(most, doubleBlockSize) }
}

/** Writes the values of a matrix into `out`, of its shape and any number type. */
export function dequantize({ algorithm, block, codes, scales }: Quantized, out: Tensor): void {
  scope(() => {
    const flat = ops.view(out, [out.numel]), most = scalesOf(scales), blocks = most.numel, step = Math.max(2, 2 * Math.floor(chunk / block / 2))
    const pairs = algorithm === 'weight_only_int8' ? null : pairTable(algorithm, out.device)
    for (let first = 0; first < blocks; first += step) {
      scope(() => {
        const taken = Math.min(step, blocks - first), from = first * block, length = Math.min(taken * block, out.numel - from)
        const found = pairs === null
          ? ops.div(inType(ops.narrow(codes, 0, from, taken * block), 'float32'), 127)
          : ops.index_select(pairs, 0, inType(ops.narrow(codes, 0, from / 2, Math.ceil((taken * block) / 2)), 'int32'))
        const values = ops.narrow(ops.reshape(found, [found.numel]), 0, 0, taken * block)
        const whole = ops.mul(ops.view(values, [taken, block]), ops.unsqueeze(ops.narrow(most, 0, first, taken), 1))
        ops.copy_(ops.narrow(flat, 0, from, length), ops.narrow(ops.reshape(whole, [taken * block]), 0, 0, length))
      })
    }
  })
}

/** Bytes that a matrix takes. */
export function bytesOf({ codes, scales }: Quantized): number {
  return codes.numel + ('plain' in scales ? 4 * scales.plain.numel : scales.codes.numel + 4 * scales.scales.numel)
}

export function freeQuantized({ codes, scales }: Quantized): void {
  for (const each of [codes, ...Object.values(scales)]) if (typeof each === 'object') each.free()
}

/** fp32 values from `start` on in blocks; beyond the end zeros. */
function inBlocks(flat: Tensor, start: number, length: number, shape: readonly number[]): Tensor {
  const there = Math.min(length, flat.numel - start), values = inType(ops.narrow(flat, 0, start, there), 'float32')
  return ops.view(there === length ? ops.contiguous(values) : ops.cat([values, ops.zeros([length - there], { dtype: 'float32', device: flat.device })]), shape)
}

/** Codes of values between −1 and 1. */
function codesOf(scaled: Tensor, algorithm: QuantizeAlgorithm): Tensor {
  if (algorithm === 'weight_only_int8') return ops.to_dtype(ops.reshape(ops.round(ops.mul(scaled, 127)), [scaled.numel]), 'int8')
  const table = tables[algorithm], between = onDevice(tensor(Float32Array.from({ length: 15 }, (_, i) => (table[i] + table[i + 1]) / 2)), scaled.device)
  const index = call('aten::bucketize', 'Tensor', ops.reshape(scaled, [scaled.numel]), between, true) as Tensor
  const odd = index.numel % 2, even = odd === 0 ? index : ops.cat([index, ops.zeros([1], { dtype: 'int32', device: index.device })])
  const halves = ops.view(even, [even.numel / 2, 2])
  return ops.to_dtype(ops.add(ops.mul(ops.select(halves, 1, 0), 16), ops.select(halves, 1, 1)), 'uint8')
}

/** The two values of each byte: fp32 `[256, 2]`. */
function pairTable(algorithm: Exclude<QuantizeAlgorithm, 'weight_only_int8'>, device: Device): Tensor {
  const table = tables[algorithm]
  return onDevice(tensor(Float32Array.from({ length: 512 }, (_, i) => table[i % 2 === 0 ? i >> 5 : (i >> 1) & 15]), [256, 2]), device)
}

/** Scales about their mean, in 8 bits. */
function inEightBits(most: Tensor, block: number): Scales {
  const mean = ops.mean(most).item(), blocks = Math.ceil(most.numel / block)
  const centred = inBlocks(ops.sub(most, mean), 0, blocks * block, [blocks, block]), scales = ops.amax(ops.abs(centred), [1])
  const safe = ops.unsqueeze(ops.where(ops.gt(scales, 0), scales, ops.ones_like(scales)), 1)
  return { codes: ops.narrow(ops.to_dtype(ops.reshape(ops.round(ops.mul(ops.div(centred, safe), 127)), [blocks * block]), 'int8'), 0, 0, most.numel), mean, scales, block }
}

function scalesOf(scales: Scales): Tensor {
  if ('plain' in scales) return scales.plain
  const { codes, mean, block } = scales, own = call('aten::repeat_interleave', 'self_int', scales.scales, block) as Tensor
  return ops.add(ops.mul(ops.div(inType(codes, 'float32'), 127), ops.narrow(own, 0, 0, codes.numel)), mean)
}
