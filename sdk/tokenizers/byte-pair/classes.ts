import { byteLevelPreTokenizer } from 'tokenizers'

/** What split rules ask of a character: `\p{L}`, `\p{N}`, `\s`, or none of them. */
export const LETTER = 0, NUMBER = 1, SPACE = 2, OTHER = 3

const unknown = 255, page = 256

/**
 * Classes of all characters, by code point, as the library's own regular expressions see them: its Unicode version is not
 * Node's. Asked of the library a page at a time, when a text has a character of that page.
 */
export class CharacterClasses {
  /** Class by code point; read it only for characters that `of` has seen, or take 255 as a sign to ask `of`. */
  readonly table = new Uint8Array(0x110000).fill(unknown)

  of(code: number): number {
    if (this.table[code] === unknown) this.ask(code - (code % page))
    return this.table[code]
  }

  /** GPT-2's rule joins characters of one class: where "x" and a character stay together, that one is a letter. */
  private ask(first: number): void {
    const codes: number[] = []
    for (let code = first; code < first + page; code++) if (code < 0xd800 || code > 0xdfff) codes.push(code)
    const text = codes.map(code => { const c = String.fromCodePoint(code); return `x${c}1${c}!${c}` }).join('')
    const starts = new Set(byteLevelPreTokenizer(false, true).preTokenizeString(text).map(([, [start]]) => start))
    codes.forEach((code, i) => {
      const joins = [1, 3, 5].findIndex(at => !starts.has(6 * i + at))
      this.table[code] = joins === 0 ? LETTER : joins === 1 ? NUMBER : joins === 2 ? OTHER : SPACE
    })
  }
}
