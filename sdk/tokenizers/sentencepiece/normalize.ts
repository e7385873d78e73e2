import { Trie } from './int-table'
import { PieceType, type SentencePieceModel } from './model'

/** A normalised text in UTF-8. `bytes` is reused by the next call. */
export interface Normalized {
  readonly bytes: Buffer
  readonly length: number
  /** For each byte, and for the end, the byte of the input that it comes from. */
  readonly origin: Int32Array
}

const SPACE = 0x20
/** U+2581, which stands for a space inside of pieces. */
const underline = Uint8Array.of(0xe2, 0x96, 0x81)
const space = Uint8Array.of(SPACE)

/** User-defined pieces stand in a text as they are: they are neither normalised nor merged. */
export function userDefined({ pieces, types }: SentencePieceModel): Trie | null {
  const entries = pieces.map((piece, id) => [piece, id] as const).filter(([, id]) => types[id] === PieceType.userDefined)
  return entries.length === 0 ? null : new Trie(entries)
}

/**
 * SentencePiece's normaliser (src/normalizer.cc): at each place the longest rule of the precompiled character map applies;
 * then white space is trimmed and joined, where the model asks for it, and written as U+2581.
 */
export class Normalizer {
  private readonly rules: Int32Array
  /** Replacements, each ended by a zero byte. */
  private readonly replacements: Uint8Array
  private readonly symbols: Trie | null
  private readonly blank: Uint8Array
  private out = Buffer.allocUnsafe(1024)
  private origin = new Int32Array(1025)
  private length = 0
  private source: Uint8Array = space
  /** What the newest call of `take` found: source[from, to) becomes text[textFrom, textTo). */
  private text: Uint8Array = space
  private textFrom = 0
  private textTo = 0

  constructor(private readonly model: SentencePieceModel) {
    const { charsmap, escapeWhitespaces } = model.normalizer
    const view = new DataView(charsmap.buffer, charsmap.byteOffset, charsmap.byteLength)
    const units = charsmap.length === 0 ? 0 : view.getUint32(0, true) / 4
    this.rules = Int32Array.from({ length: units }, (_, unit) => view.getInt32(4 + 4 * unit, true))
    this.replacements = charsmap.subarray(4 + 4 * units)
    this.symbols = userDefined(model)
    this.blank = escapeWhitespaces ? underline : space
  }

  /** @param prefix false: no space is put before the text, although the model asks for one */
  normalize(source: Uint8Array, prefix = true): Normalized {
    const { addDummyPrefix, removeExtraWhitespaces } = this.model.normalizer, { whitespaceAsSuffix } = this.model
    this.source = source
    this.length = 0
    let at = 0
    if (removeExtraWhitespaces) at = this.skipBlanks()
    if (at < source.length) {
      if (addDummyPrefix && prefix && !whitespaceAsSuffix) this.append(this.blank, 0, this.blank.length, at)
      at = this.body(at)
      if (removeExtraWhitespaces) at = this.trimEnd(at)
      if (addDummyPrefix && whitespaceAsSuffix) this.append(this.blank, 0, this.blank.length, at)
    }
    this.origin[this.length] = at
    return { bytes: this.out, length: this.length, origin: this.origin }
  }

  private skipBlanks(): number {
    let at = 0
    while (at < this.source.length) {
      const to = this.take(at)
      if (this.textTo - this.textFrom !== 1 || this.text[this.textFrom] !== SPACE) break
      at = to
    }
    return at
  }

  private body(from: number): number {
    const { removeExtraWhitespaces } = this.model.normalizer
    let at = from
    let afterSpace = removeExtraWhitespaces
    while (at < this.source.length) {
      const to = this.take(at), { text, textTo } = this
      let start = this.textFrom
      if (afterSpace) while (start < textTo && text[start] === SPACE) start++
      if (start < textTo) {
        this.append(text, start, textTo, at)
        afterSpace = removeExtraWhitespaces && text[textTo - 1] === SPACE
      }
      at = to
    }
    return at
  }

  private trimEnd(end: number): number {
    const { blank } = this
    let at = end
    while (this.length >= blank.length && blank.every((byte, i) => this.out[this.length - blank.length + i] === byte)) {
      this.length -= blank.length
      at = this.origin[this.length]
    }
    return at
  }

  private append(text: Uint8Array, from: number, to: number, origin: number): void {
    const room = this.length + 3 * (to - from)
    if (room > this.out.length) this.grow(room)
    const { out, blank } = this
    let { length } = this
    for (let i = from; i < to; i++) {
      if (text[i] === SPACE) {
        for (let b = 0; b < blank.length; b++) {
          this.origin[length] = origin
          out[length++] = blank[b]
        }
      } else {
        this.origin[length] = origin
        out[length++] = text[i]
      }
    }
    this.length = length
  }

  private grow(room: number): void {
    const out = Buffer.allocUnsafe(2 * room), origin = new Int32Array(2 * room + 1)
    this.out.copy(out, 0, 0, this.length)
    origin.set(this.origin.subarray(0, this.length))
    this.out = out
    this.origin = origin
  }

  /** Takes a user-defined piece, what a rule replaces, or one character; returns where it ends. */
  private take(at: number): number {
    const { source, symbols } = this
    const symbol = symbols === null ? -1 : symbols.longest(source, at, source.length)
    if (symbol < 0 && this.rules.length > 0) {
      const to = this.applyRule(at)
      if (to >= 0) return to
    }
    this.text = source
    this.textFrom = at
    this.textTo = symbol >= 0 ? symbol : Math.min(source.length, at + characterLength(source[at]))
    return this.textTo
  }

  /** Walks the double array (darts-clone's units) for the longest rule; -1: none applies. */
  private applyRule(at: number): number {
    const { source, rules } = this
    let found = -1
    let value = 0
    let node = offsetOf(rules[0])
    for (let next = at; next < source.length;) {
      node ^= source[next]
      const unit = rules[node]
      // A unit's label has the top bit set where the unit is a value.
      if ((unit & 0x800000ff) !== source[next]) break
      node ^= offsetOf(unit)
      next++
      if ((unit & 0x100) !== 0) {
        found = next
        value = rules[node] & 0x7fffffff
      }
    }
    if (found < 0) return -1
    this.text = this.replacements
    this.textFrom = value
    this.textTo = this.replacements.indexOf(0, value)
    return found
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6)
}

/** Bytes of a UTF-8 character, from its first byte. */
export function characterLength(first: number): number {
  return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
}
