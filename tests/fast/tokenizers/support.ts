import * as fs from 'node:fs'
import type { GgufTokenizerMaterial } from 'fettle/dist/models/weights/types'
import { fixture } from '../../support/paths'

export interface GoldenCase { readonly text: string; readonly ids: readonly number[]; readonly decoded?: string }

export function goldenCases(name: string): readonly GoldenCase[] {
  return (JSON.parse(fs.readFileSync(fixture('golden', 'tokenizers', `${name}.json`), 'utf8')) as { cases: GoldenCase[] }).cases
}

/** Pieces of a SentencePiece model as a GGUF file would carry them (protobuf: field 1 repeats {1: piece, 2: score, 3: type}). */
export function sentencePieceMaterial(file: string): GgufTokenizerMaterial {
  const tokens: string[] = [], scores: number[] = [], tokenTypes: number[] = []
  for (const [field, bytes] of fields(fs.readFileSync(file))) {
    if (field !== 1 || !Buffer.isBuffer(bytes)) continue
    const piece = new Map(fields(bytes))
    tokens.push(String(piece.get(1)))
    scores.push(piece.has(2) ? (piece.get(2) as Buffer).readFloatLE() : 0)
    tokenTypes.push((piece.get(3) as number | undefined) ?? 1)
  }
  return { kind: 'gguf', path: file, model: 'llama', tokens, scores, tokenTypes, ids: { unknown: 0, bos: 1, eos: 2 } }
}

function fields(bytes: Buffer): [number, number | Buffer][] {
  const out: [number, number | Buffer][] = []
  let at = 0
  const number = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
  }
  const take = (length: number): Buffer => bytes.subarray(at, at += length)
  while (at < bytes.length) {
    const key = number()
    const wire = key & 7
    out.push([key >> 3, wire === 0 ? number() : take(wire === 2 ? number() : wire === 5 ? 4 : 8)])
  }
  return out
}
