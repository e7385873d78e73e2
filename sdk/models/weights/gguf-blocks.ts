import { rounding } from './rounding'

/**
 * Turns `blocks` blocks of one GGML type, at byte `at` of `src`, into fp32 at `to` of `out`. Scales are fp16 and the
 * whole numbers have at most six bits, so every product is exact in fp32 and only the one addition rounds: the results
 * equal ggml's bit for bit (ggml-quants.c, `dequantize_row_*`).
 */
export type Dequantize = (src: Uint8Array, at: number, blocks: number, out: Float32Array, to: number) => void

const { halfToFloat } = rounding

function half(src: Uint8Array, at: number): number {
  return halfToFloat[src[at] | src[at + 1] << 8]
}

/** Q4_0: d, 16 bytes of two weights each, offset 8. */
const q4_0: Dequantize = (src, at, blocks, out, to) => {
  for (let b = 0; b < blocks; b++, at += 18, to += 32) {
    const d = half(src, at)
    for (let i = 0; i < 16; i++) {
      const q = src[at + 2 + i]
      out[to + i] = d * ((q & 15) - 8)
      out[to + 16 + i] = d * ((q >> 4) - 8)
    }
  }
}

/** Q4_1: d, m, 16 bytes. */
const q4_1: Dequantize = (src, at, blocks, out, to) => {
  for (let b = 0; b < blocks; b++, at += 20, to += 32) {
    const d = half(src, at)
    const m = half(src, at + 2)
    for (let i = 0; i < 16; i++) {
      const q = src[at + 4 + i]
      out[to + i] = d * (q & 15) + m
      out[to + 16 + i] = d * (q >> 4) + m
    }
  }
}

/** Q5_0: d, the fifth bits of 32 weights, 16 bytes, offset 16. */
const q5_0: Dequantize = (src, at, blocks, out, to) => {
  for (let b = 0; b < blocks; b++, at += 22, to += 32) {
    const d = half(src, at)
    const high = src[at + 2] | src[at + 3] << 8 | src[at + 4] << 16 | src[at + 5] << 24
    for (let i = 0; i < 16; i++) {
      const q = src[at + 6 + i]
      out[to + i] = d * ((q & 15 | (high >>> i & 1) << 4) - 16)
      out[to + 16 + i] = d * ((q >> 4 | (high >>> i + 16 & 1) << 4) - 16)
    }
  }
}

/** Q5_1: d, m, the fifth bits, 16 bytes. */
const q5_1: Dequantize = (src, at, blocks, out, to) => {
  for (let b = 0; b < blocks; b++, at += 24, to += 32) {
    const d = half(src, at)
    const m = half(src, at + 2)
    const high = src[at + 4] | src[at + 5] << 8 | src[at + 6] << 16 | src[at + 7] << 24
    for (let i = 0; i < 16; i++) {
      const q = src[at + 8 + i]
      out[to + i] = d * (q & 15 | (high >>> i & 1) << 4) + m
      out[to + 16 + i] = d * (q >> 4 | (high >>> i + 16 & 1) << 4) + m
    }
  }
}

/** Q8_0: d, 32 signed bytes. */
const q8_0: Dequantize = (src, at, blocks, out, to) => {
  for (let b = 0; b < blocks; b++, at += 34, to += 32) {
    const d = half(src, at)
    for (let i = 0; i < 32; i++) out[to + i] = d * (src[at + 2 + i] << 24 >> 24)
  }
}

/** The six-bit scale (`part` 0) or minimum (`part` 4) of sub-block `j` among the 12 bytes that K-quants pack them into. */
function kScale(src: Uint8Array, at: number, j: number, part: 0 | 4): number {
  if (j < 4) return src[at + part + j] & 63
  const low = part === 0 ? src[at + 4 + j] & 15 : src[at + 4 + j] >> 4
  return low | src[at + part + j - 4] >> 6 << 4
}

/** Q4_K: d, dmin, 12 bytes of scales and minima of 8 sub-blocks, 128 bytes; 256 weights. */
const q4_k: Dequantize = (src, at, blocks, out, to) => {
  for (let b = 0; b < blocks; b++, at += 144, to += 256) {
    const d = half(src, at)
    const dmin = half(src, at + 2)
    for (let j = 0; j < 8; j++) {
      const scale = d * kScale(src, at + 4, j, 0)
      const min = dmin * kScale(src, at + 4, j, 4)
      const from = at + 16 + (j >> 1) * 32
      const shift = (j & 1) * 4
      for (let i = 0; i < 32; i++) out[to + j * 32 + i] = scale * (src[from + i] >> shift & 15) - min
    }
  }
}

/** Q5_K: as Q4_K, with 32 bytes of fifth bits between scales and weights. */
const q5_k: Dequantize = (src, at, blocks, out, to) => {
  for (let b = 0; b < blocks; b++, at += 176, to += 256) {
    const d = half(src, at)
    const dmin = half(src, at + 2)
    for (let j = 0; j < 8; j++) {
      const scale = d * kScale(src, at + 4, j, 0)
      const min = dmin * kScale(src, at + 4, j, 4)
      const from = at + 48 + (j >> 1) * 32
      const shift = (j & 1) * 4
      for (let i = 0; i < 32; i++) {
        out[to + j * 32 + i] = scale * (src[from + i] >> shift & 15 | (src[at + 16 + i] >> j & 1) << 4) - min
      }
    }
  }
}

/** Q6_K: 128 bytes of low and 64 of high bits, 16 signed scales, d; 256 weights, offset 32. */
const q6_k: Dequantize = (src, at, blocks, out, to) => {
  for (let b = 0; b < blocks; b++, at += 210, to += 256) {
    const d = half(src, at + 208)
    for (let j = 0; j < 8; j++) {
      const low = at + (j >> 2) * 64 + (j & 1) * 32
      const lowShift = (j >> 1 & 1) * 4
      const high = at + 128 + (j >> 2) * 32
      const highShift = (j & 3) * 2
      for (let i = 0; i < 32; i++) {
        const scale = d * (src[at + 192 + j * 2 + (i >> 4)] << 24 >> 24)
        out[to + j * 32 + i] = scale * ((src[low + i] >> lowShift & 15 | (src[high + i] >> highShift & 3) << 4) - 32)
      }
    }
  }
}

const f16: Dequantize = (src, at, blocks, out, to) => {
  for (let i = 0; i < blocks; i++) out[to + i] = half(src, at + 2 * i)
}


const bf16: Dequantize = (src, at, blocks, out, to) => {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length)
  for (let i = 0; i < blocks; i++) words[to + i] = (src[at + 2 * i] | src[at + 2 * i + 1] << 8) << 16
}

const f32: Dequantize = (src, at, blocks, out, to) => {
  new Uint8Array(out.buffer, out.byteOffset + to * 4, blocks * 4).set(src.subarray(at, at + blocks * 4))
}

/** By the names of `ggmlTypes`. */
export const dequantizers: Readonly<Record<string, Dequantize>> = {
  F32: f32, F16: f16, BF16: bf16, Q4_0: q4_0, Q4_1: q4_1, Q5_0: q5_0, Q5_1: q5_1, Q8_0: q8_0, Q4_K: q4_k, Q5_K: q5_k, Q6_K: q6_k,
}
