/** How often each n-gram occurs; units are joined by `glue`, which no unit holds. */
export function countNgrams(units: readonly string[], n: number, glue: string): Map<string, number> {
  const counts = new Map<string, number>()
  for (let i = 0; i + n <= units.length; i++) {
    const ngram = units.slice(i, i + n).join(glue)
    counts.set(ngram, (counts.get(ngram) ?? 0) + 1)
  }
  return counts
}

/** Occurrences that two counts share. */
export function overlap(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  let shared = 0
  for (const [ngram, count] of a) shared += Math.min(count, b.get(ngram) ?? 0)
  return shared
}

/** Length of the longest common subsequence, in memory of one row. */
export function longestCommon(a: readonly string[], b: readonly string[]): number {
  const [long, short] = a.length < b.length ? [b, a] : [a, b]
  // Numbers compare faster than texts.
  const numbers = new Map<string, number>(), numbered = (units: readonly string[]): Uint32Array =>
    Uint32Array.from(units, (unit) => numbers.get(unit) ?? (numbers.set(unit, numbers.size), numbers.size - 1))
  const x = numbered(long), y = numbered(short), row = new Uint32Array(y.length + 1)
  for (let i = 0; i < x.length; i++) {
    let diagonal = 0
    for (let j = 1; j <= y.length; j++) {
      const above = row[j]
      row[j] = x[i] === y[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1])
      diagonal = above
    }
  }
  return row[y.length]
}
