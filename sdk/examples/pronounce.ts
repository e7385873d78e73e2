import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { EnvironmentError } from '../errors'
import type { SampleEvent } from '../run/events'

/** A word and how it is said, in ARPAbet without stress marks: `cabbage`, `K AE B AH JH`. */
export interface Pronunciation {
  /** In lower case. */
  readonly word: string
  /** ARPAbet symbols with spaces between them. */
  readonly phonemes: string
}

/** The task as data: a folder for `.data()`, and the held-out words with their prompts. */
export interface PronunciationTask {
  /** Holds train.json and dev.json. */
  readonly folder: string
  /** Words in train.json. */
  readonly trainWords: number
  /** Words of dev.json, which no training row holds. */
  readonly heldOut: readonly (Pronunciation & { readonly prompt: string })[]
}

/** Options of `pronunciations`. */
export interface PronunciationOptions {
  /** Words to train on, or as many as there are. At least 1. Default 4000. */
  readonly train?: number
  /** Words to hold out. At least 1. Default 64. */
  readonly heldOut?: number
  /** Seed of the split. Default 1. */
  readonly seed?: number
  /** Names and rare words too (84,000 words, much harder), instead of everyday words (5,900). Default false. */
  readonly names?: boolean
}

/** What the model is asked: the word letter by letter, `c a b b a g e =`. Written as a word it would be
 * a token or two, whose spelling the model had to know by heart. */
export function pronouncePrompt(word: string): string {
  return `${[...word].join(' ')} =`
}

/**
 * Writes a data set for teaching a model to pronounce English words into `folder`, from the CMU Pronouncing Dictionary (npm
 * package cmu-pronouncing-dictionary, free licence). The same options give the same files. No training word shares its
 * first five letters with a held-out one, so that `cabbages` does not teach the answer to `cabbage`.
 */
export async function pronunciations(folder: string, options: PronunciationOptions = {}): Promise<PronunciationTask> {
  const { train = 4000, heldOut = 64, seed = 1, names = false } = options
  const words = shuffle(await readDictionary(names), seed)
  const held = words.slice(0, heldOut)
  const stem = (word: string) => word.slice(0, 5)
  const stems = new Set(held.map(({ word }) => stem(word)))
  const rest = words.slice(heldOut).filter(({ word }) => !stems.has(stem(word))).slice(0, train)
  mkdirSync(folder, { recursive: true })
  // The target starts with a space, as text does behind the equals sign: tokens are whole then.
  const write = (name: string, rows: readonly Pronunciation[]) => writeFileSync(path.join(folder, name),
    rows.map(({ word, phonemes }) => `${JSON.stringify({ src: pronouncePrompt(word), tgt: ` ${phonemes}` })}\n`).join(''))
  write('train.json', rest)
  write('dev.json', held)
  return { folder, trainWords: rest.length, heldOut: held.map((entry) => ({ ...entry, prompt: pronouncePrompt(entry.word) })) }
}

/** Words of 3 to 8 plain letters, first pronunciation, stress marks taken off. */
async function readDictionary(names: boolean): Promise<Pronunciation[]> {
  let dictionary: Record<string, string>
  try {
    ({ dictionary } = await import('cmu-pronouncing-dictionary'))
  } catch (cause) {
    throw new EnvironmentError('example.dictionary', 'cannot load the pronouncing dictionary; run: npm install cmu-pronouncing-dictionary@3.0.0', {}, { cause })
  }
  const fits = (word: string) => /^[a-z]{3,8}$/.test(word) && (names || isEveryday(word, dictionary))
  return Object.entries(dictionary).filter(([word]) => fits(word)).map(([word, phonemes]) => ({ word, phonemes: phonemes.replace(/\d/g, '') }))
}

/** More than half of the dictionary are names. A word that one can put -ed, -ing, -ly or -ness to seldom is. */
function isEveryday(word: string, dictionary: Readonly<Record<string, string>>): boolean {
  const stems = [word, word.replace(/e$/, ''), word.replace(/y$/, 'i')]
  return ['ed', 'ing', 'ly', 'ness'].some((ending) => stems.some((stem) => stem + ending in dictionary))
}

/** Fisher–Yates with a small generator of its own (mulberry32), so that a seed means the same everywhere. */
function shuffle<T>(items: readonly T[], seed: number): T[] {
  const out = [...items]
  let state = seed >>> 0
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]]
  }
  return out
}

/** How good a set of answers is. */
export interface PronunciationScore {
  /** Share of words whose phonemes are all right. */
  readonly exact: number
  /** Edit distance over all words, divided by their phonemes: the usual figure for this task, 0 is perfect. */
  readonly phonemeErrorRate: number
}

/** Compares answers with references, phoneme by phoneme. Prose instead of phonemes counts as what it is: errors. */
export function scorePronunciations(pairs: readonly { readonly answer: string; readonly reference: string }[]): PronunciationScore {
  let right = 0
  let errors = 0
  let phonemes = 0
  for (const { answer, reference } of pairs) {
    const said = answer.trim().split(/\s+/).filter(Boolean)
    const wanted = reference.trim().split(/\s+/)
    const distance = editDistance(said, wanted)
    if (distance === 0) right++
    // A rambling answer is wrong once for each phoneme, no more: else one of them would hide all others.
    errors += Math.min(distance, wanted.length)
    phonemes += wanted.length
  }
  return { exact: right / pairs.length, phonemeErrorRate: errors / phonemes }
}

/** Least insertions, deletions and substitutions that turn one list into the other (Levenshtein 1966). */
export function editDistance(from: readonly string[], to: readonly string[]): number {
  let row = to.map((_, j) => j + 1)
  row.unshift(0)
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < to.length; j++) next.push(Math.min(row[j + 1] + 1, next[j] + 1, row[j] + (from[i] === to[j] ? 0 : 1)))
    row = next
  }
  return row[to.length]
}

/** Scores a `sample` event against the held-out words of the task. */
export function scoreSample(task: PronunciationTask, event: SampleEvent): PronunciationScore {
  const wanted = new Map(task.heldOut.map(({ prompt, phonemes }) => [prompt, phonemes]))
  return scorePronunciations(event.samples.filter(({ prompt }) => wanted.has(prompt)).map(({ prompt, answer }) => ({ answer, reference: wanted.get(prompt) ?? '' })))
}

/** `bf16` where the machine multiplies it natively (a GPU, AVX-512 BF16, AMX), else `fp32`, which is faster there. */
export function fastPrecision(): 'bf16' | 'fp32' {
  if (existsSync('/proc/driver/nvidia/version')) return 'bf16'
  const cpu = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : ''
  return /\b(avx512_bf16|amx_bf16)\b/.test(cpu) ? 'bf16' : 'fp32'
}
