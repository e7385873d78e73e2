/** Parts of a text that are written in another way before SentencePiece sees them. */
export interface RewriteRule {
  /** A global pattern. */
  readonly pattern: RegExp
  /** What stands for a match. */
  readonly write: (found: string) => string
}

/** A text as SentencePiece gets it, and for each byte of it, and its end, the place in the text that it comes from. */
export interface Rewritten {
  readonly text: string
  readonly places: Int32Array
}

/** The text alone. */
export function rewriteText(text: string, rule: RewriteRule | null): string {
  return rule === null ? text : text.replace(rule.pattern, rule.write)
}

/** The text with places; what is rewritten never straddles a border. */
export function rewriteWithPlaces(text: string, rule: RewriteRule | null, borders: readonly number[]): Rewritten {
  const out: string[] = []
  const places: number[] = []
  const copy = (from: number, to: number): void => {
    out.push(text.slice(from, to))
    for (let at = from; at < to;) {
      const code = text.codePointAt(at)!
      for (let bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4; bytes > 0; bytes--) places.push(at)
      at += code > 0xffff ? 2 : 1
    }
  }
  const ends = [...borders, text.length]
  ends.forEach((end, i) => {
    const start = i === 0 ? 0 : ends[i - 1]
    let from = start
    for (const found of rule === null ? [] : text.slice(start, end).matchAll(rule.pattern)) {
      const at = start + found.index!
      copy(from, at)
      const written = rule!.write(found[0])
      out.push(written)
      for (let bytes = Buffer.byteLength(written); bytes > 0; bytes--) places.push(at)
      from = at + found[0].length
    }
    copy(from, end)
  })
  places.push(text.length)
  return { text: out.join(''), places: Int32Array.from(places) }
}
