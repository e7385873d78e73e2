import { PairTable, Trie } from './int-table'
import { inText, PieceType, type SentencePieceModel } from './model'
import { MergeQueue } from './merge-queue'
import { characterLength, userDefined } from './normalize'
import type { Splitter, TakePiece } from './split'

/** Characters that no piece contains. */
const STRANGE = -1
/** Stretches of up to so many bytes are remembered, and so many of them. */
const rememberedLength = 48, rememberedCount = 1 << 16

/**
 * SentencePiece's byte-pair merging (src/bpe_model.cc): of all neighbours whose union is a piece, the pair with the best
 * score is joined first, of equal ones the left one, until none is left.
 *
 * Symbols are numbers: a piece's id, or a number behind them for a character that stands only inside of pieces. Merging never
 * crosses two characters that stand side by side in no piece, so a text falls into stretches that can be merged alone, and
 * whose result is remembered.
 */
export class BpeSplitter implements Splitter {
  private readonly symbols = new Map<number, number>()
  private readonly frozen: Trie | null
  /** (left, right) → the piece that they make. */
  private readonly merges = new PairTable()
  /** Pairs of characters that stand side by side in a piece. */
  private readonly neighbours = new PairTable()
  private readonly queue: MergeQueue
  /** Bytes of each piece. */
  private readonly lengths: Uint32Array
  private readonly remembered = new Map<string, number[]>()
  /** Pieces that stand in for their parts: what they were made of is looked up at the end. */
  private readonly hasUnused: boolean

  constructor(private readonly model: SentencePieceModel) {
    this.frozen = userDefined(model)
    this.hasUnused = model.types.includes(PieceType.unused)
    this.lengths = Uint32Array.from(model.pieces, (piece) => Buffer.byteLength(piece))
    this.queue = new MergeQueue(this.merges, model)
    const ids = new Map<string, number>()
    model.pieces.forEach((piece, id) => { if (inText(model.types[id])) ids.set(piece, id) })
    const symbolOf = (text: string): number => ids.get(text) ?? this.symbols.get(text.codePointAt(0)!)!
    for (const piece of ids.keys()) for (const character of piece) this.addCharacter(character, ids)
    for (const [piece, id] of ids) this.addPiece(piece, id, ids, symbolOf)
  }

  split(bytes: Buffer, from: number, to: number, take: TakePiece): void {
    let start = from
    let before = STRANGE
    const stretch: number[] = []
    const finish = (end: number): void => {
      if (stretch.length > 0) this.merge(bytes, start, end, stretch, take)
      stretch.length = 0
      start = end
    }
    for (let at = from; at < to;) {
      const end = this.frozen === null ? -1 : this.frozen.longest(bytes, at, to)
      const next = end >= 0 ? end : at + characterLength(bytes[at])
      const symbol = end >= 0 ? STRANGE : this.symbols.get(codePoint(bytes, at)) ?? STRANGE
      if (symbol === STRANGE || before === STRANGE || !(this.hasUnused || this.neighbours.get(before, symbol) >= 0)) finish(at)
      if (symbol === STRANGE) {
        take(end >= 0 ? this.frozenId(bytes, at, end) : this.model.unknownId, at, next)
        start = next
      } else stretch.push(symbol)
      before = symbol
      at = next
    }
    finish(to)
  }

  private addCharacter(character: string, ids: ReadonlyMap<string, number>): void {
    const code = character.codePointAt(0)!
    if (!this.symbols.has(code)) this.symbols.set(code, ids.get(character) ?? this.model.pieces.length + this.symbols.size)
  }

  private addPiece(piece: string, id: number, ids: ReadonlyMap<string, number>, symbolOf: (text: string) => number): void {
    const characters = Array.from(piece)
    for (let cut = 1, at = 0; cut < characters.length; cut++) {
      at += characters[cut - 1].length
      this.neighbours.set(symbolOf(characters[cut - 1]), symbolOf(characters[cut]), 1)
      const left = piece.slice(0, at), right = piece.slice(at)
      if ((cut === 1 || ids.has(left)) && (cut === characters.length - 1 || ids.has(right))) this.merges.set(symbolOf(left), symbolOf(right), id)
    }
  }

  private frozenId(bytes: Buffer, from: number, to: number): number {
    let node = 0
    for (let at = from; at < to; at++) node = this.frozen!.step(node, bytes[at])
    return this.frozen!.valueAt(node)
  }

  /** Joins the symbols of one stretch and hands out what they became. */
  private merge(bytes: Buffer, from: number, to: number, stretch: readonly number[], take: TakePiece): void {
    let merged = stretch
    if (stretch.length > 1) {
      const key = to - from <= rememberedLength && !this.hasUnused ? bytes.toString('latin1', from, to) : null
      const known = key === null ? undefined : this.remembered.get(key)
      merged = known ?? this.queue.merge(stretch)
      if (key !== null && known === undefined) this.remember(key, merged as number[])
    }
    const { pieces, types, unknownId } = this.model
    let at = from
    for (const symbol of merged) {
      const next = symbol < pieces.length ? at + this.lengths[symbol] : at + characterLength(bytes[at])
      take(symbol < pieces.length && types[symbol] !== PieceType.unused ? symbol : unknownId, at, next)
      at = next
    }
  }

  private remember(key: string, merged: number[]): void {
    if (this.remembered.size >= rememberedCount) this.remembered.clear()
    this.remembered.set(key, merged)
  }
}

/** The character at a place of a text that is valid UTF-8. */
function codePoint(bytes: Buffer, at: number): number {
  const first = bytes[at]
  if (first < 0x80) return first
  if (first < 0xe0) return ((first & 0x1f) << 6) | (bytes[at + 1] & 0x3f)
  if (first < 0xf0) return ((first & 0x0f) << 12) | ((bytes[at + 1] & 0x3f) << 6) | (bytes[at + 2] & 0x3f)
  return ((first & 0x07) << 18) | ((bytes[at + 1] & 0x3f) << 12) | ((bytes[at + 2] & 0x3f) << 6) | (bytes[at + 3] & 0x3f)
}
