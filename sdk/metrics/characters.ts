import { countNgrams, longestCommon, overlap } from './ngrams'

/** A generated text and what it should have been. */
export interface TextPair {
  /** What the model wrote. */
  readonly output: string
  /** What it should have written. */
  readonly target: string
}

/** Scores of generated texts, from 0 to 1, the higher the better. */
export interface CharacterScores {
  /** Corpus BLEU of 1- to 4-grams with equal weights; a precision of zero counts as the smallest positive double. */
  readonly bleu4: number
  /** Share of the references' distinct characters that the outputs have. */
  readonly rouge1: number
  /** The same of pairs of neighbours. */
  readonly rouge2: number
  /** Mean of the longest common subsequence's F with β = 1.2. */
  readonly rougel: number
}

/** The smallest positive normal double: Python's `sys.float_info.min`. */
const smallest = 2.2250738585072014e-308
const orders = 4, beta = 1.2

/**
 * BLEU-4 and Rouge-1/2/L as PaddleNLP's fine-tuning script computes them: on characters (code points) of the decoded texts.
 * Sums run over the whole corpus, so that pairs are added one by one.
 */
export class CharacterScorer {
  private readonly matches = new Array<number>(orders).fill(0)
  private readonly totals = new Array<number>(orders).fill(0)
  private outputLength = 0
  private targetLength = 0
  /** Distinct n-grams of the references, and those that the outputs have too: for n = 1, 2. */
  private readonly rouge = [{ shared: 0, all: 0 }, { shared: 0, all: 0 }]
  private lcsSum = 0
  private pairs = 0

  add({ output, target }: TextPair): void {
    const a = Array.from(output), b = Array.from(target)
    this.pairs++
    this.outputLength += a.length
    this.targetLength += b.length
    for (let n = 1; n <= orders; n++) {
      const own = countNgrams(a, n, ''), wanted = countNgrams(b, n, '')
      this.matches[n - 1] += overlap(own, wanted)
      this.totals[n - 1] += Math.max(0, a.length - n + 1)
      if (n > 2) continue
      this.rouge[n - 1].all += wanted.size
      for (const ngram of own.keys()) if (wanted.has(ngram)) this.rouge[n - 1].shared++
    }
    this.lcsSum += lcsF(a, b)
  }

  /** Of no pairs all are 0. */
  scores(): CharacterScores {
    const share = ({ shared, all }: { shared: number; all: number }): number => (all === 0 ? 0 : shared / all)
    return { bleu4: this.bleu(), rouge1: share(this.rouge[0]), rouge2: share(this.rouge[1]), rougel: this.pairs === 0 ? 0 : this.lcsSum / this.pairs }
  }

  private bleu(): number {
    if (this.outputLength === 0) return 0
    const logs = this.matches.reduce((sum, matches, i) => sum + Math.log((this.totals[i] === 0 ? 0 : matches / this.totals[i]) || smallest) / orders, 0)
    return Math.exp(Math.min(1 - this.targetLength / this.outputLength, 0)) * Math.exp(logs)
  }
}

function lcsF(output: readonly string[], target: readonly string[]): number {
  if (output.length === 0 || target.length === 0) return 0
  const common = longestCommon(output, target), precision = common / output.length, recall = common / target.length
  return common === 0 ? 0 : ((1 + beta ** 2) * precision * recall) / (recall + beta ** 2 * precision)
}
