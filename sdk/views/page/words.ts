/** A piece of a text; `changed` where the text before did not have it. */
export interface Piece { readonly text: string; readonly changed: boolean }

/** Longer texts are not compared: the table grows with the square. */
const mostWords = 240

/** Marks the words of `now` that are not in the longest common subsequence with `before`. */
export function changedWords(before: string, now: string): Piece[] {
  const [a, b] = [before.match(/\S+/g) ?? [], now.split(/(\s+)/).filter((piece) => piece !== '')]
  const words = b.filter((piece) => /\S/.test(piece))
  if (before === now || a.length > mostWords || words.length > mostWords) return [{ text: now, changed: false }]
  const kept = common(a, words)
  let at = 0
  const pieces = b.map((text) => ({ text, changed: /\S/.test(text) && !kept.has(at++) }))
  // Neighbours of one kind join, so that a page has few elements.
  return pieces.reduce<Piece[]>((out, piece) => {
    const last = out.at(-1)
    if (last && last.changed === piece.changed) out[out.length - 1] = { text: last.text + piece.text, changed: last.changed }
    else out.push(piece)
    return out
  }, [])
}

/** Indices of `b` in a longest common subsequence of both. */
function common(a: readonly string[], b: readonly string[]): Set<number> {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1))
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--) lengths[i][j] = a[i] === b[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1])
  const kept = new Set<number>()
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) { kept.add(j); i++; j++ }
    else if (lengths[i + 1][j] >= lengths[i][j + 1]) i++
    else j++
  }
  return kept
}
