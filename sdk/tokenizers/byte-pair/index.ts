import { withRoom } from '../../data/room'
import type { AddedToken, TokenizerJson } from '../spec'
import type { Mark, MarkedIds } from '../types'
import { Merges, type BpeModel } from './merges'
import { wordRule, type WordRule } from './split'
import { WordTable } from './words'

/** Longer words are rare, so they are merged each time. UTF-16 units. */
const longestKept = 48

/**
 * Byte-level BPE (GPT-2, LLaMA 3, Qwen, SmolLM …) with a memory of words: a word's ids depend on the word alone, so most
 * of a text is looked up instead of merged. It gives the library's ids, many times as fast, or null where only the library
 * can tell: `bytePair` for a tokenizer.json of another kind, its methods for a text with a word of hundreds of characters, one that
 * normalisation changes or with half of a character, or one with a mark inside of a word.
 */
export function bytePair(json: TokenizerJson): BytePair | null {
  const { normalizer, pre_tokenizer: preTokenizer, added_tokens: added, model } = json
  const { type, dropout, unk_token: unknown, continuing_subword_prefix: prefix, end_of_word_suffix: suffix, byte_fallback: fallback } = model
  if ((type ?? 'BPE') !== 'BPE' || dropout || unknown || prefix || suffix || fallback || !model.merges) return null
  const nfc = (normalizer as { type?: unknown } | null)?.type === 'NFC'
  if (normalizer !== null && !nfc) return null
  if (added.some(token => token.single_word || token.lstrip || token.rstrip || token.content === '' || (token.normalized && normalizer !== null))) return null
  const rule = wordRule(preTokenizer), merges = rule === null ? null : Merges.of(model as unknown as BpeModel)
  return merges === null ? null : new BytePair(rule!, merges, added, nfc)
}

export class BytePair {
  private readonly words = new WordTable()
  private readonly tokens: AddedTokens
  private text = Buffer.alloc(1 << 12)
  private codes = new Uint16Array(this.text.buffer, this.text.byteOffset, this.text.length >> 1)
  private out = new Int32Array(1 << 10)
  private used = 0

  constructor(private readonly rule: WordRule, private readonly merges: Merges, added: readonly AddedToken[], private readonly nfc: boolean) {
    this.tokens = new AddedTokens(added)
  }

  /** Ids of a text, without tokens around it. */
  encode(text: string): Int32Array | null { return this.encodeMarked(text, [])?.ids ?? null }

  /** @param marks in the order of their places */
  encodeMarked(text: string, marks: readonly Mark[]): MarkedIds | null {
    if (this.nfc && text.normalize('NFC') !== text) return null
    this.used = 0
    const length = this.load(text), cuts: number[] = []
    for (let at = 0; at < length;) {
      const found = this.tokens.next(this.codes, at, length)
      if (!this.addWords(at, found.from, marks, cuts)) return null
      if (found.id >= 0 && !this.addToken(found, marks, cuts)) return null
      at = found.to
    }
    while (cuts.length < marks.length) cuts.push(this.used)
    return { ids: this.out.slice(0, this.used), cuts }
  }

  private load(text: string): number {
    if (2 * text.length > this.text.length) {
      this.text = Buffer.alloc(4 * text.length)
      this.codes = new Uint16Array(this.text.buffer, this.text.byteOffset, this.text.length >> 1)
    }
    this.text.write(text, 'utf16le')
    return text.length
  }

  private addWords(from: number, to: number, marks: readonly Mark[], cuts: number[]): boolean {
    const { codes, rule } = this
    for (let at = from; at < to;) {
      const end = rule.end(codes, at, to)
      if (end < 0 || !this.passMarks(at, end, marks, cuts)) return false
      if (!this.addWord(at, end)) return false
      at = end
    }
    return true
  }

  /** Notes the marks up to the start of a word or token; false when one is inside. */
  private passMarks(at: number, end: number, marks: readonly Mark[], cuts: number[]): boolean {
    while (cuts.length < marks.length && marks[cuts.length].at <= at) cuts.push(this.used)
    return cuts.length === marks.length || marks[cuts.length].at >= end
  }

  private addToken({ id, from, to }: FoundToken, marks: readonly Mark[], cuts: number[]): boolean {
    if (!this.passMarks(from, to, marks, cuts)) return false
    this.out = withRoom(this.out, this.used, 1, Int32Array)
    this.out[this.used++] = id
    return true
  }

  private addWord(from: number, to: number): boolean {
    const { codes, words } = this, kept = to - from <= longestKept, hash = kept ? WordTable.hash(codes, from, to) : 0
    const slot = kept ? words.find(hash, codes, from, to) : -1
    const count = slot < 0 ? this.merges.encode(codes, from, to) : words.count(slot)
    if (count < 0) return false
    if (this.used + count > this.out.length) this.out = withRoom(this.out, this.used, count, Int32Array)
    const source = slot < 0 ? this.merges.ids : words.ids, first = slot < 0 ? 0 : words.first(slot)
    for (let i = 0; i < count; i++) this.out[this.used++] = source[first + i]
    if (slot < 0 && kept) words.add(hash, codes, from, to, source, count)
    return true
  }
}

interface FoundToken { readonly id: number; readonly from: number; readonly to: number }

/** Added tokens in a text, the first and, at one place, the longest. */
class AddedTokens {
  /** By the code of their first unit; the longest first. */
  private readonly byFirst = new Map<number, { readonly units: Uint16Array; readonly id: number }[]>()
  private readonly begins = new Uint8Array(1 << 16)

  constructor(tokens: readonly AddedToken[]) {
    for (const { content, id } of [...tokens].sort((a, b) => b.content.length - a.content.length)) {
      const units = Uint16Array.from({ length: content.length }, (_, i) => content.charCodeAt(i))
      this.begins[units[0]] = 1
      this.byFirst.set(units[0], [...this.byFirst.get(units[0]) ?? [], { units, id }])
    }
  }

  /** The next token from `at` on; id -1 at the end of the text when there is none. */
  next(codes: Uint16Array, at: number, to: number): FoundToken {
    for (let from = at; from < to; from++) {
      if (this.begins[codes[from]] === 0) continue
      for (const { units, id } of this.byFirst.get(codes[from])!) {
        let i = 0
        while (i < units.length && from + i < to && units[i] === codes[from + i]) i++
        if (i === units.length) return { id, from, to: from + i }
      }
    }
    return { id: -1, from: to, to }
  }
}
