/** Kinds of pieces, as sentencepiece_model.proto numbers them. */
export const pieceTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

export interface Piece { readonly text: string; readonly score: number; readonly type: number }

export interface ModelSettings {
  readonly kind: 'unigram' | 'bpe'
  readonly byteFallback?: boolean
  readonly addDummyPrefix?: boolean
  readonly removeExtraWhitespaces?: boolean
}

/** The bytes of a SentencePiece model without normalisation rules. */
export function sentencePieceFile(pieces: readonly Piece[], { kind, byteFallback = false, addDummyPrefix = true, removeExtraWhitespaces = false }: ModelSettings): Buffer {
  const trainer = Buffer.concat([number(3, kind === 'bpe' ? 2 : 1), number(35, byteFallback ? 1 : 0)])
  const normalizer = Buffer.concat([bytes(1, Buffer.from('identity')), number(3, addDummyPrefix ? 1 : 0), number(4, removeExtraWhitespaces ? 1 : 0)])
  return Buffer.concat([
    ...pieces.map(({ text, score, type }) => bytes(1, Buffer.concat([bytes(1, Buffer.from(text)), float(2, score), number(3, type)]))),
    bytes(2, trainer), bytes(3, normalizer),
  ])
}

/** `<unk>`, `<s>` and `</s>`, as most models begin. */
export const firstPieces: readonly Piece[] = [
  { text: '<unk>', score: 0, type: pieceTypes.unknown }, { text: '<s>', score: 0, type: pieceTypes.control }, { text: '</s>', score: 0, type: pieceTypes.control },
]

/** The 256 byte pieces. */
export const bytePieces: readonly Piece[] = Array.from({ length: 256 }, (_, byte) =>
  ({ text: `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, score: 0, type: pieceTypes.byte }))

function varint(value: number): Buffer {
  const out: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest & 127) | 128)
  return Buffer.from([...out, rest])
}

function number(field: number, value: number): Buffer { return Buffer.concat([varint(field << 3), varint(value)]) }

function float(field: number, value: number): Buffer {
  const data = Buffer.alloc(4)
  data.writeFloatLE(value)
  return Buffer.concat([varint((field << 3) | 5), data])
}

function bytes(field: number, data: Buffer): Buffer { return Buffer.concat([varint((field << 3) | 2), varint(data.length), data]) }
