/**
 * A small seeded generator of 32-bit numbers (xoshiro128**, Blackman and Vigna 2018), its state filled by splitmix32.
 * The same on every machine and Node version, which a shuffle that a resume must repeat needs.
 */
export function seededRandom(...seeds: readonly number[]): () => number {
  let mixed = 0x9e3779b9
  const mix = (): number => {
    mixed = (mixed + 0x9e3779b9) | 0
    let z = mixed
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  for (const seed of seeds) {
    // Both halves of large seeds count.
    for (const half of [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0]) mixed = mix() ^ half
  }
  let [a, b, c, d] = [mix(), mix(), mix(), mix()]
  const turn = (x: number, k: number): number => (x << k) | (x >>> (32 - k))
  return () => {
    const out = Math.imul(turn(Math.imul(b, 5), 7), 9) >>> 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = turn(d, 11)
    return out
  }
}

/** A whole number in [0, bound), without bias. */
export function below(random: () => number, bound: number): number {
  const limit = Math.floor(2 ** 32 / bound) * bound
  for (;;) {
    const n = random()
    if (n < limit) return n % bound
  }
}

/** Shuffles in place (Fisher-Yates). */
export function shuffle(values: Int32Array, random: () => number): Int32Array {
  for (let i = values.length - 1; i > 0; i--) {
    const j = below(random, i + 1)
    const kept = values[i]
    values[i] = values[j]
    values[j] = kept
  }
  return values
}
