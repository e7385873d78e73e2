import type { AddedToken } from './spec'

/** An added token, and in which texts it is read as a token. */
export interface TextToken extends AddedToken {
  /**
   * `anywhere`; `rendered`: in texts that a template rendered, but not in other texts; `behind`: only right behind another
   * added token, because as it is written it may stand in any word (`sop`).
   */
  readonly where: 'anywhere' | 'rendered' | 'behind'
  /** A character that `lstrip` and `rstrip` take with the token, as a pattern; default `\s`. */
  readonly blank?: string
}

/** A stretch of a text, [from, to) in UTF-16 units: an added token, or (id null) text between them. */
export interface TextPart { readonly id: number | null; readonly from: number; readonly to: number }

/** Finds added tokens in texts, the longest at each place, as transformers' tokenizers do. */
export class TextTokens {
  private readonly plain: Finder
  private readonly rendered: Finder

  constructor(tokens: readonly TextToken[]) {
    this.plain = new Finder(tokens.filter(({ where }) => where !== 'rendered'))
    this.rendered = new Finder(tokens)
  }

  /** @param borders places that no token may straddle: one that does is read as text */
  split(text: string, rendered: boolean, borders: readonly number[] = []): TextPart[] {
    const parts: TextPart[] = []
    let from = 0
    for (const found of (rendered ? this.rendered : this.plain).find(text)) {
      if (borders.some((border) => found.from < border && border < found.to)) continue
      if (found.from > from) parts.push({ id: null, from, to: found.from })
      parts.push(found)
      from = found.to
    }
    if (from < text.length) parts.push({ id: null, from, to: text.length })
    return parts
  }
}

class Finder {
  private readonly pattern: RegExp | null
  private readonly ids = new Map<string, number>()
  private readonly behind: readonly TextToken[]

  constructor(tokens: readonly TextToken[]) {
    const longestFirst = [...tokens].sort((a, b) => b.content.length - a.content.length)
    const found = longestFirst.filter(({ where }) => where !== 'behind')
    this.behind = longestFirst.filter(({ where }) => where === 'behind')
    for (const { content, id } of found) this.ids.set(content, id)
    this.pattern = found.length === 0 ? null : new RegExp(found.map(pattern).join('|'), 'gu')
  }

  *find(text: string): Generator<TextPart> {
    if (this.pattern === null) return
    this.pattern.lastIndex = 0
    for (let match = this.pattern.exec(text); match !== null; match = this.pattern.exec(text)) {
      const content = match.slice(1).find((group) => group !== undefined)!
      yield { id: this.ids.get(content)!, from: match.index, to: this.pattern.lastIndex }
      const next = this.behind.find((token) => text.startsWith(token.content, this.pattern!.lastIndex))
      if (next === undefined) continue
      const from = this.pattern.lastIndex
      this.pattern.lastIndex = from + next.content.length
      yield { id: next.id, from, to: this.pattern.lastIndex }
    }
  }
}

function pattern({ content, lstrip, rstrip, single_word: alone, blank = '\\s' }: TextToken): string {
  const own = `(${content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')})`
  const word = alone ? `(?<![\\p{L}\\p{N}_])${own}(?![\\p{L}\\p{N}_])` : own
  return `${lstrip ? `${blank}*` : ''}${word}${rstrip ? `${blank}*` : ''}`
}
