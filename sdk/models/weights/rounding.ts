/** fp32 value of each of the 65,536 half-precision bit patterns. */
function makeHalfTable(): Float32Array {
  const table = new Float32Array(1 << 16)
  for (let bits = 0; bits < 1 << 15; bits++) {
    const exponent = bits >> 10
    const fraction = bits & 1023
    const value = exponent === 31 ? (fraction ? NaN : Infinity)
      : exponent === 0 ? fraction * 2 ** -24
        : (1024 + fraction) * 2 ** (exponent - 25)
    table[bits] = value
    table[bits | 1 << 15] = -value
  }
  return table
}

/**
 * Rounds `count` fp32 values, given by their bits, to bfloat16: to nearest, ties to even, as PyTorch does
 * (c10/util/BFloat16.h, `round_to_nearest_even`). NaN becomes the quiet NaN 0x7fc0.
 */
function toBfloat16(words: Uint32Array, count: number, out: Uint16Array, to: number): void {
  for (let i = 0; i < count; i++) {
    const w = words[i]
    out[to + i] = (w & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : w + 0x7fff + (w >>> 16 & 1) >>> 16
  }
}

export const rounding = { halfToFloat: makeHalfTable(), toBfloat16 }
