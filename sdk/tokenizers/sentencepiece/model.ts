import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { ModelError } from '../../errors'
import { wireFields, WireError, type WireValue } from './wire'

/** Kinds of pieces, numbered as sentencepiece_model.proto does. */
export const PieceType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

/** What SentencePiece does to a text before it splits it. */
export interface NormalizerSettings {
  /** Precompiled rules (a double-array trie, then the replacements); empty: characters stay as they are. */
  readonly charsmap: Uint8Array
  readonly addDummyPrefix: boolean
  readonly removeExtraWhitespaces: boolean
  readonly escapeWhitespaces: boolean
}

/** Content of a SentencePiece .model file. */
export interface SentencePieceModel {
  readonly path: string
  /** SHA-256 of the file. */
  readonly digest: string
  readonly kind: 'unigram' | 'bpe'
  readonly pieces: readonly string[]
  readonly scores: Float32Array
  readonly types: Uint8Array
  readonly unknownId: number
  readonly bosId: number | null
  readonly eosId: number | null
  readonly padId: number | null
  /** What an unknown piece decodes to. */
  readonly unknownSurface: string
  readonly byteFallback: boolean
  readonly whitespaceAsSuffix: boolean
  readonly normalizer: NormalizerSettings
}

/** Id of each piece. A control, byte or unknown piece goes before another one of the same text. */
export function pieceIds({ pieces, types }: SentencePieceModel): Map<string, number> {
  const ids = new Map<string, number>()
  pieces.forEach((piece, id) => { if (!inText(types[id]) || !ids.has(piece)) ids.set(piece, id) })
  return ids
}

/** True for pieces that a text is split into; the others stand for no text. */
export function inText(type: number): boolean {
  return type === PieceType.normal || type === PieceType.userDefined || type === PieceType.unused
}

/** @throws ModelError `tokenizer.sentencepiece` for a file that cannot be read, is cut off, or is no SentencePiece model */
export function readSentencePiece(path: string): SentencePieceModel {
  let bytes: Uint8Array
  try {
    bytes = fs.readFileSync(path)
  } catch (cause) {
    throw refuse(path, `cannot be read (${(cause as NodeJS.ErrnoException).code})`, 'check that the file may be read', cause)
  }
  return parseSentencePiece(bytes, path)
}

/** @throws ModelError `tokenizer.sentencepiece` */
export function parseSentencePiece(bytes: Uint8Array, path: string): SentencePieceModel {
  try {
    return checked(collect(bytes, path))
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw refuse(path, notSentencePiece(bytes) ?? `is no whole SentencePiece model: it ${cause.message}`, 'download the file again', cause)
  }
}

interface Settings {
  readonly kind: number
  readonly byteFallback: boolean
  readonly whitespaceAsSuffix: boolean
  readonly unknownSurface: string
  readonly names: { readonly bos: string; readonly eos: string; readonly pad: string }
}

function collect(bytes: Uint8Array, path: string): SentencePieceModel {
  const pieces: string[] = [], scores: number[] = [], types: number[] = []
  const specs = new Map<number, Uint8Array>()
  for (const [field, value] of wireFields(bytes)) {
    if (!(value instanceof Uint8Array)) throw new WireError(`has a number as field ${field}`)
    if (field !== 1) { specs.set(field, value); continue }
    const piece = message(value)
    pieces.push(text(piece.get(1), ''))
    scores.push(number(piece.get(2), 0))
    types.push(number(piece.get(3), PieceType.normal))
  }
  const settings = trainerSettings(message(specs.get(2))), { names } = settings
  if (pieces.length === 0) throw refuse(path, notSentencePiece(bytes) ?? 'has no pieces', 'download the file again')
  if (settings.kind !== 1 && settings.kind !== 2) throw refuse(path, `is a ${settings.kind === 3 ? 'word' : 'character'} model, and Fettle reads BPE and unigram models`, 'use the tokenizer.json of the same model')
  if (charsmapOf(message(specs.get(5))).length > 0) throw refuse(path, 'changes decoded text by rules of its own (denormalizer_spec)', 'use the tokenizer.json of the same model')
  const normalizer = message(specs.get(3))
  const control = (name: string): number | null => {
    const id = pieces.indexOf(name)
    return id >= 0 && types[id] === PieceType.control ? id : null
  }
  return {
    path, digest: createHash('sha256').update(bytes).digest('hex'), kind: settings.kind === 2 ? 'bpe' : 'unigram',
    pieces, scores: Float32Array.from(scores), types: Uint8Array.from(types),
    unknownId: types.indexOf(PieceType.unknown), bosId: control(names.bos), eosId: control(names.eos), padId: control(names.pad),
    unknownSurface: settings.unknownSurface, byteFallback: settings.byteFallback, whitespaceAsSuffix: settings.whitespaceAsSuffix,
    normalizer: {
      charsmap: charsmapOf(normalizer), addDummyPrefix: flag(normalizer.get(3), true),
      removeExtraWhitespaces: flag(normalizer.get(4), true), escapeWhitespaces: flag(normalizer.get(5), true)
    }
  }
}

/** Field numbers and defaults as sentencepiece_model.proto has them. */
function trainerSettings(trainer: ReadonlyMap<number, WireValue>): Settings {
  return {
    kind: number(trainer.get(3), 1), byteFallback: flag(trainer.get(35), false), whitespaceAsSuffix: flag(trainer.get(24), false),
    unknownSurface: text(trainer.get(44), ' \u2047 '),
    names: { bos: text(trainer.get(46), '') || '<s>', eos: text(trainer.get(47), '') || '</s>', pad: text(trainer.get(48), '') || '<pad>' }
  }
}

function checked(model: SentencePieceModel): SentencePieceModel {
  const { path, pieces, types } = model
  if (model.unknownId < 0) throw refuse(path, 'has no piece for unknown characters', 'download the file again')
  const seen = new Set<string>(), bytes = new Set<string>()
  pieces.forEach((piece, id) => {
    const name = `${inText(types[id])} ${piece}`
    if (piece === '' || seen.has(name)) throw refuse(path, piece === '' ? `has an empty piece, number ${id}` : `has the piece ${JSON.stringify(piece)} twice`, 'download the file again')
    seen.add(name)
    if (types[id] === PieceType.byte) bytes.add(piece)
  })
  if (model.byteFallback && bytes.size !== 256) throw refuse(path, `has ${bytes.size} byte pieces, expected 256`, 'download the file again')
  return model
}

function message(bytes: Uint8Array | undefined): ReadonlyMap<number, WireValue> {
  return new Map(bytes === undefined ? [] : wireFields(bytes))
}

function charsmapOf(normalizer: ReadonlyMap<number, WireValue>): Uint8Array {
  const bytes = normalizer.get(2)
  if (!(bytes instanceof Uint8Array) || bytes.length === 0) return new Uint8Array(0)
  const trie = bytes.length > 4 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) : bytes.length
  if (trie % 4 !== 0 || trie + 4 > bytes.length) throw new WireError('has normalisation rules that are cut off')
  return bytes
}

function text(value: WireValue | undefined, otherwise: string): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : otherwise
}

function number(value: WireValue | undefined, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise
}

function flag(value: WireValue | undefined, otherwise: boolean): boolean {
  return typeof value === 'number' ? value !== 0 : otherwise
}

/** Other files that go by the name of a tokenizer.model. */
function notSentencePiece(bytes: Uint8Array): string | null {
  const start = Buffer.from(bytes.subarray(0, 200)).toString('latin1')
  if (bytes.length === 0) return 'is empty'
  if (start.startsWith('version https://git-lfs')) return 'is a Git LFS pointer, not the file itself'
  if (/^[A-Za-z0-9+/]+=* \d+\n/.test(start)) return 'is a tiktoken file, not a SentencePiece model'
  return null
}

function refuse(path: string, seen: string, remedy: string, cause?: unknown): ModelError {
  return new ModelError('tokenizer.sentencepiece', `${path}: ${seen}; ${remedy}`, { path }, { cause })
}
