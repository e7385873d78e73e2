import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import type { GgufTokenizerMaterial } from 'fettle/dist/models/weights/types'
import type { DecodeOptions, Tokenizer } from 'fettle/dist/tokenizers'
import { readSentencePiece } from 'fettle/dist/tokenizers/sentencepiece/model'
import { fixture } from '../../support/paths'

export interface GoldenCase { readonly text: string; readonly ids: readonly number[]; readonly decoded?: string }

export function goldenCases(name: string): readonly GoldenCase[] {
  return (JSON.parse(fs.readFileSync(fixture('golden', 'tokenizers', `${name}.json`), 'utf8')) as { cases: GoldenCase[] }).cases
}

/** Pieces of a SentencePiece model as a GGUF file would carry them. */
export function sentencePieceMaterial(file: string): GgufTokenizerMaterial {
  const { pieces, scores, types } = readSentencePiece(file)
  return { kind: 'gguf', path: file, model: 'llama', tokens: pieces, scores: [...scores], tokenTypes: [...types], ids: { unknown: 0, bos: 1, eos: 2 } }
}

/** A case of a fixture: text and ids, or (no text) random ids and what they decode to. */
export interface ModelCase { readonly text?: string; readonly ids: readonly number[]; readonly decoded?: string; readonly special?: readonly number[] }

export function modelCases(file: string): readonly ModelCase[] {
  return (JSON.parse(fs.readFileSync(file, 'utf8')) as { cases: ModelCase[] }).cases
}

/** The ids of a text alone and with marks all over it. */
export async function assertEncodes(tokenizer: Tokenizer, text: string, ids: readonly number[]): Promise<void> {
  assert.deepEqual(await tokenizer.encode(text), ids, JSON.stringify(text))
  const [{ ids: marked, cuts }] = await tokenizer.encodeMarked([{ text, marks: Array.from({ length: text.length + 1 }, (_, at) => ({ at, split: false })) }])
  assert.deepEqual([...marked], await tokenizer.encode(text, { rendered: true }), JSON.stringify(text))
  assert.ok(cuts.every((cut, at) => cut <= marked.length && (at === 0 || cut >= cuts[at - 1])))
}

/** The text of ids, and the same streamed: never half of a character, U+FFFD only where the text has it. */
export function assertDecodes(tokenizer: Tokenizer, ids: readonly number[], text: string, options: DecodeOptions = {}): void {
  assert.equal(tokenizer.decode(ids, options), text)
  const stream = tokenizer.streamDecoder(options)
  const pieces = [...ids.map((id) => stream.push(id)), stream.flush()]
  assert.equal(pieces.join(''), text)
  for (const piece of pieces) assert.doesNotMatch(piece, /\p{Surrogate}/u)
}
