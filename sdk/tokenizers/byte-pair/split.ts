import { splitRules } from '../gguf-pre'
import { CharacterClasses, LETTER, NUMBER, OTHER, SPACE } from './classes'

/** Finds words, the stretches that merges never cross, in UTF-16 text. */
export interface WordRule {
  /** Where the word ends that starts at `at`; -1 when this rule cannot tell, and the library must. */
  end(codes: Uint16Array, at: number, to: number): number
}

const apostrophe = 0x27, space = 0x20, lineFeed = 0x0a, carriageReturn = 0x0d

/** What differs between the rules that GPT-2's successors use. */
interface Modern { readonly digits: number }

/** The patterns whose words can be found here, as tokenizer.json writes them. */
const modern = new Map<string, Modern>([[patternOf('llama-bpe'), { digits: 3 }], [patternOf('qwen2'), { digits: 1 }]])

function patternOf(rule: string): string {
  const { pretokenizers } = splitRules[rule].preTokenizer as { pretokenizers: { pattern: { Regex: string } }[] }
  return pretokenizers[0].pattern.Regex
}

/** The rule of a tokenizer.json's pre_tokenizer; null for one that only the library knows. */
export function wordRule(preTokenizer: unknown): WordRule | null {
  if (isByteLevel(preTokenizer)) return preTokenizer.use_regex === false ? null : new Gpt2Rule()
  const { type, pretokenizers: parts } = (preTokenizer ?? {}) as { type?: unknown; pretokenizers?: readonly unknown[] }
  if (type !== 'Sequence' || parts?.length !== 2 || !isByteLevel(parts[1]) || parts[1].use_regex !== false) return null
  const { type: kind, pattern, behavior, invert } = parts[0] as { type?: unknown; pattern?: { Regex?: string }; behavior?: unknown; invert?: unknown }
  const known = kind === 'Split' && behavior === 'Isolated' && invert !== true ? modern.get(pattern?.Regex ?? '') : undefined
  return known === undefined ? null : new ModernRule(known)
}

function isByteLevel(part: unknown): part is { readonly use_regex?: boolean } {
  const { type, add_prefix_space: prefix } = (part ?? {}) as { type?: unknown; add_prefix_space?: unknown }
  return type === 'ByteLevel' && prefix === false
}

/** Steps over runs of one class. */
class Runs {
  protected readonly classes = new CharacterClasses()
  private readonly table = this.classes.table

  protected classAt(codes: Uint16Array, at: number, to: number): number {
    const code = codes[at], found = this.table[code]
    if (found !== 255) return found
    return this.classes.of(isPair(codes, at, to) ? codePoint(code, codes[at + 1]) : code)
  }

  /** End of the run of `wanted` from `at` on. */
  protected run(codes: Uint16Array, at: number, to: number, wanted: number): number {
    const { table } = this
    while (at < to) {
      const found = table[codes[at]]
      if (found === wanted) at++
      else if (found !== 255 || this.classAt(codes, at, to) !== wanted) break
      else at += isPair(codes, at, to) ? 2 : 1
    }
    return at
  }

  protected next(codes: Uint16Array, at: number, to: number): number { return isPair(codes, at, to) ? at + 2 : at + 1 }

  /** `\s+(?!\S)|\s+`: all white space at the end of a text; before a word, all but the last. */
  protected spaces(codes: Uint16Array, at: number, to: number): number {
    const end = this.run(codes, at, to, SPACE)
    return end === to || end === at + 1 ? end : end - 1
  }
}

/** GPT-2's pattern: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. */
class Gpt2Rule extends Runs implements WordRule {
  end(codes: Uint16Array, at: number, to: number): number {
    if (codes[at] === apostrophe) {
      const end = contraction(codes, at, to, 0)
      if (end > at) return end
    }
    const from = codes[at] === space && at + 1 < to ? at + 1 : at, kind = this.classAt(codes, from, to)
    return kind === SPACE ? this.spaces(codes, at, to) : this.run(codes, from, to, kind)
  }
}

/**
 * LLaMA 3's and Qwen's pattern: contractions in any case, one character before letters, digits by `digits`, line ends
 * behind punctuation, white space up to its last line end.
 */
class ModernRule extends Runs implements WordRule {
  constructor(private readonly rule: Modern) { super() }

  end(codes: Uint16Array, at: number, to: number): number {
    const code = codes[at]
    if (code === apostrophe) {
      // Long s is an s in any case to some engines.
      if (at + 1 < to && codes[at + 1] === 0x17f) return -1
      const end = contraction(codes, at, to, 0x20)
      if (end > at) return end
    }
    const kind = this.classAt(codes, at, to)
    if (kind === LETTER) return this.run(codes, at, to, LETTER)
    if (kind === NUMBER) return this.digits(codes, at, to)
    const after = this.next(codes, at, to)
    const follows = after < to ? this.classAt(codes, after, to) : -1
    if (follows === LETTER && code !== lineFeed && code !== carriageReturn) return this.run(codes, after, to, LETTER)
    if (kind === OTHER || (code === space && follows === OTHER)) return lineEnds(codes, this.run(codes, kind === OTHER ? at : after, to, OTHER), to)
    const end = this.run(codes, at, to, SPACE)
    for (let last = end; last > at; last--) if (isLineEnd(codes[last - 1])) return last
    return this.spaces(codes, at, to)
  }

  private digits(codes: Uint16Array, at: number, to: number): number {
    let end = at
    for (let count = 0; count < this.rule.digits && end < to && this.classAt(codes, end, to) === NUMBER; count++) end = this.next(codes, end, to)
    return end
  }
}

/** End of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d`; `at` when there is none. @param fold 0x20: capitals too */
function contraction(codes: Uint16Array, at: number, to: number, fold: number): number {
  if (at + 1 >= to) return at
  const first = codes[at + 1] | fold
  if (first === 0x73 || first === 0x74 || first === 0x6d || first === 0x64) return at + 2
  if (at + 2 >= to) return at
  const second = codes[at + 2] | fold
  return (second === 0x65 && (first === 0x72 || first === 0x76)) || (first === 0x6c && second === 0x6c) ? at + 3 : at
}

function isLineEnd(code: number): boolean { return code === lineFeed || code === carriageReturn }

function lineEnds(codes: Uint16Array, at: number, to: number): number {
  while (at < to && isLineEnd(codes[at])) at++
  return at
}

function isPair(codes: Uint16Array, at: number, to: number): boolean {
  return (codes[at] & 0xfc00) === 0xd800 && at + 1 < to && (codes[at + 1] & 0xfc00) === 0xdc00
}

function codePoint(high: number, low: number): number { return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00) }
