/** Token types that SentencePiece never makes by merging: unknown, control, user-defined, unused, byte. */
const NORMAL = 1

/**
 * Merges of a SentencePiece BPE vocabulary. SentencePiece merges, at each step, the two neighbours whose union has the
 * best score; a merge list that is sorted by the union's score does the same. Splits of one union are ordered by the ids
 * of their parts, as transformers' converter does it.
 */
export function mergesFromScores(tokens: readonly string[], scores: readonly number[], types?: readonly number[]): [string, string][] {
  const ids = new Map<string, number>()
  tokens.forEach((token, id) => { if ((types?.[id] ?? NORMAL) === NORMAL) ids.set(token, id) })
  const found: { left: number; right: number; score: number }[] = []
  for (const [token, id] of ids) {
    for (let cut = 1; cut < token.length; cut++) {
      const left = ids.get(token.slice(0, cut))
      const right = left === undefined ? undefined : ids.get(token.slice(cut))
      if (left !== undefined && right !== undefined) found.push({ left, right, score: scores[id] })
    }
  }
  found.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right)
  return found.map(({ left, right }) => [tokens[left], tokens[right]])
}
