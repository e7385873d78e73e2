import { byteAlphabet } from '../byte-level'
import { PairTable } from '../sentencepiece/int-table'

/** The parts of a tokenizer.json's BPE model that decide ids. */
export interface BpeModel {
  readonly vocab: Readonly<Record<string, number>>
  readonly merges: readonly (string | readonly [string, string])[]
  readonly ignore_merges?: boolean
}

/** Longer words are left to the library, whose cost grows slower with length. Bytes. */
const longestWord = 512

/** Byte-level BPE of one word: of all neighbours that merge, those of the lowest rank join first, from the left. */
export class Merges {
  /** Ids of the word that was encoded last. */
  readonly ids = new Int32Array(longestWord)
  private readonly ranks = new Int32Array(longestWord)
  private readonly bytes = new Uint8Array(longestWord)

  private constructor(private readonly byteIds: Int32Array, private readonly pairs: PairTable, private readonly joined: Int32Array,
    private readonly whole: ReadonlyMap<string, number> | null, private readonly alphabet: readonly string[]) {}

  /** Null when the vocabulary lacks a part of a merge or its result. */
  static of({ vocab, merges, ignore_merges: ignore = false }: BpeModel): Merges | null {
    const ids = new Map(Object.entries(vocab)), alphabet = byteAlphabet(), pairs = new PairTable(), joined = new Int32Array(merges.length)
    for (const [rank, merge] of merges.entries()) {
      const [left, right] = typeof merge === 'string' ? merge.split(' ') : merge
      const [a, b, c] = [ids.get(left), ids.get(right), ids.get(left + right)]
      if (a === undefined || b === undefined || c === undefined) return null
      pairs.set(a, b, rank)
      joined[rank] = c
    }
    return new Merges(Int32Array.from(alphabet, letter => ids.get(letter) ?? -1), pairs, joined, ignore ? ids : null, alphabet)
  }

  /** Encodes the word into `ids`; returns their number, or -1 for a word that is too long, or has half of a character or a byte that the vocabulary lacks. */
  encode(codes: Uint16Array, from: number, to: number): number {
    const length = this.utf8(codes, from, to)
    if (length < 0) return -1
    if (this.whole !== null) {
      const id = this.whole.get(Array.from(this.bytes.subarray(0, length), byte => this.alphabet[byte]).join(''))
      if (id !== undefined) {
        this.ids[0] = id
        return 1
      }
    }
    for (let i = 0; i < length; i++) if ((this.ids[i] = this.byteIds[this.bytes[i]]) < 0) return -1
    return this.merge(length)
  }

  private merge(count: number): number {
    const { ids, ranks, pairs, joined } = this
    for (let i = 0; i + 1 < count; i++) ranks[i] = pairs.get(ids[i], ids[i + 1])
    for (;;) {
      let best = -1, at = -1
      for (let i = 0; i + 1 < count; i++) if (ranks[i] >= 0 && (at < 0 || ranks[i] < best)) [best, at] = [ranks[i], i]
      if (at < 0) return count
      ids[at] = joined[best]
      count--
      ids.copyWithin(at + 1, at + 2, count + 1)
      ranks.copyWithin(at + 1, at + 2, count)
      if (at > 0) ranks[at - 1] = pairs.get(ids[at - 1], ids[at])
      if (at + 1 < count) ranks[at] = pairs.get(ids[at], ids[at + 1])
    }
  }

  private utf8(codes: Uint16Array, from: number, to: number): number {
    if (3 * (to - from) > longestWord) return -1
    const { bytes } = this
    let used = 0
    for (let i = from; i < to; i++) {
      let code = codes[i]
      if ((code & 0xf800) === 0xd800) {
        if (code >= 0xdc00 || i + 1 === to || (codes[i + 1] & 0xfc00) !== 0xdc00) return -1
        code = 0x10000 + ((code - 0xd800) << 10) + (codes[++i] - 0xdc00)
      }
      if (code < 0x80) bytes[used++] = code
      else {
        if (code < 0x800) bytes[used++] = 0xc0 | (code >> 6)
        else {
          if (code < 0x10000) bytes[used++] = 0xe0 | (code >> 12)
          else {
            bytes[used++] = 0xf0 | (code >> 18)
            bytes[used++] = 0x80 | ((code >> 12) & 0x3f)
          }
          bytes[used++] = 0x80 | ((code >> 6) & 0x3f)
        }
        bytes[used++] = 0x80 | (code & 0x3f)
      }
    }
    return used
  }
}
