import type { TextPair } from './characters'
import { countNgrams, longestCommon, overlap } from './ngrams'

/** Scores by the word, as the field's own tools give them. */
export interface WordScores {
  /** sacrebleu's corpus BLEU, 0 to 100, under its tokenizers `13a` (Western languages) and `zh` (Chinese characters apart). */
  readonly sacrebleu: { readonly '13a': number; readonly zh: number }
  /** rouge-score's F1, 0 to 1, mean over pairs, without stemming. */
  readonly rouge_score: { readonly rouge1: number; readonly rouge2: number; readonly rougeL: number }
}

/** @throws nothing: of no pairs all are 0 */
export function wordScores(pairs: readonly TextPair[]): WordScores {
  const mean = (score: (output: readonly string[], target: readonly string[]) => number): number =>
    pairs.length === 0 ? 0 : pairs.reduce((sum, { output, target }) => sum + score(rougeWords(output), rougeWords(target)), 0) / pairs.length
  return {
    sacrebleu: { '13a': corpusBleu(pairs, words13a), zh: corpusBleu(pairs, wordsZh) },
    rouge_score: { rouge1: mean((a, b) => ngramF(a, b, 1)), rouge2: mean((a, b) => ngramF(a, b, 2)), rougeL: mean(lcsF1) },
  }
}

/** White space as Python's `str.split()` and `strip()` see it. */
const space = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+'
const spaces = new RegExp(space, 'u'), lastSpaces = new RegExp(`${space}$`, 'u')

/** Punctuation apart, as mteval-v13a does it for Western languages. */
const rules: readonly (readonly [RegExp, string])[] = [
  [/([{-~[-` -&(-+:-@/])/gu, ' $1 '], [/([^0-9])([.,])/gu, '$1 $2 '], [/([.,])([^0-9])/gu, ' $1 $2'], [/([0-9])(-)/gu, '$1 $2 '],
]

function punctuated(line: string): string[] {
  return rules.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), line).split(spaces).filter((word) => word !== '')
}

function words13a(text: string): string[] {
  const line = text.replace(lastSpaces, '').replaceAll('<skipped>', '').replaceAll('-\n', '').replaceAll('\n', ' ')
    .replaceAll('&quot;', '"').replaceAll('&amp;', '&').replaceAll('&lt;', '<').replaceAll('&gt;', '>')
  return punctuated(` ${line} `)
}

/** What sacrebleu's `zh` takes for Chinese. Two of its ranges are written for five digits and mean U+2001–2A6D and U+2F81–2FA1. */
const chinese = /[\u2001-\u2a6d\u2e80-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef\u3200-\u33ff\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef]/gu

function wordsZh(text: string): string[] {
  return punctuated(text.replace(new RegExp(`^${space}|${space}$`, 'gu'), '').replace(chinese, ' $& '))
}

/** Corpus BLEU (Papineni et al. 2002) with the NIST smoothing of orders without a match, as sacrebleu's default. */
function corpusBleu(pairs: readonly TextPair[], words: (text: string) => string[]): number {
  const matches = [0, 0, 0, 0], totals = [0, 0, 0, 0]
  let own = 0, wanted = 0
  for (const { output, target } of pairs) {
    const a = words(output), b = words(target)
    own += a.length
    wanted += b.length
    for (let n = 1; n <= 4; n++) {
      matches[n - 1] += overlap(countNgrams(a, n, ' '), countNgrams(b, n, ' '))
      totals[n - 1] += Math.max(0, a.length - n + 1)
    }
  }
  if (matches.every((count) => count === 0)) return 0
  let smoothing = 1
  const precisions = matches.map((count, i) => (totals[i] === 0 ? 0 : count > 0 ? 100 * count / totals[i] : 100 / ((smoothing *= 2) * totals[i])))
  const penalty = own < wanted ? Math.exp(1 - wanted / own) : 1
  return penalty * Math.exp(precisions.reduce((sum, precision) => sum + (precision === 0 ? -9999999999 : Math.log(precision)), 0) / 4)
}

/** rouge-score's words: lower case, letters a–z and digits. */
function rougeWords(text: string): string[] { return text.toLowerCase().replace(/[^a-z0-9]+/g, ' ').split(' ').filter((word) => word !== '') }

function ngramF(output: readonly string[], target: readonly string[], n: number): number {
  const a = countNgrams(output, n, ' '), b = countNgrams(target, n, ' ')
  return f1(overlap(a, b), Math.max(0, output.length - n + 1), Math.max(0, target.length - n + 1))
}

function lcsF1(output: readonly string[], target: readonly string[]): number { return f1(longestCommon(output, target), output.length, target.length) }

function f1(shared: number, output: number, target: number): number {
  const precision = shared / Math.max(output, 1), recall = shared / Math.max(target, 1)
  return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0
}
