import * as fs from 'node:fs'
import { DataError } from '../errors'
import { readLines } from '../data/lines'
import { CharacterScorer, type CharacterScores, type TextPair } from './characters'
import { wordScores, type WordScores } from './words'

/** Options of `score`. */
export interface ScoreOptions {
  /** Adds sacrebleu's and rouge-score's figures, which count words. Default false. */
  readonly words?: boolean
}

/** Scores of generated texts; with `words`, those of the field's own tools beside them. */
export type Scores = CharacterScores & Partial<WordScores>

/**
 * Scores pairs of generated and expected texts: BLEU-4 and Rouge-1/2/L on characters, as PaddleNLP's fine-tuning script has them.
 *
 * ```ts
 * score([{ output: 'the cat', target: 'the cat sat' }])
 * ```
 *
 * @throws DataError `score.empty` without a pair
 */
export function score(pairs: Iterable<TextPair>, { words = false }: ScoreOptions = {}): Scores {
  const all = [...pairs], scorer = new CharacterScorer()
  if (all.length === 0) throw new DataError('score.empty', 'expected at least one pair of texts to score, got none', {})
  for (const pair of all) scorer.add(pair)
  return { ...scorer.scores(), ...(words ? wordScores(all) : {}) }
}

/**
 * Pairs of a file of `{"output", "tgt"}` objects, one a line: what an evaluation by generation writes as generated_output.json.
 * @throws DataError `score.file`, `data.json`, `data.field`, `score.empty`, each with file and line
 */
export function readPairs(file: string): TextPair[] {
  if (!fs.statSync(file, { throwIfNoEntry: false })?.isFile()) throw new DataError('score.file', `${file}: is not a file; give generated_output.json or another file of {"output", "tgt"} lines`, { file })
  const pairs: TextPair[] = []
  for (const { bytes, number } of readLines(file)) {
    const text = bytes.toString('utf8').trim()
    if (text !== '') pairs.push(pairOf(text, file, number))
  }
  if (pairs.length === 0) throw new DataError('score.empty', `${file}: has no lines; expected one {"output": …, "tgt": …} a line`, { file })
  return pairs
}

function pairOf(text: string, file: string, line: number): TextPair {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new DataError('data.json', `${file}:${line}: is not JSON (${(cause as Error).message}); expected one {"output": …, "tgt": …} a line`, { file, line }, { cause })
  }
  const { output, tgt } = (typeof value === 'object' && value !== null ? value : {}) as { output?: unknown; tgt?: unknown }
  for (const [name, field] of [['output', output], ['tgt', tgt]] as const) {
    if (typeof field !== 'string') throw new DataError('data.field', `${file}:${line}: expected a text for "${name}", got ${field === undefined ? 'nothing' : JSON.stringify(field)}; expected one {"output": …, "tgt": …} a line`, { file, line, field: name })
  }
  return { output: output as string, target: tgt as string }
}
