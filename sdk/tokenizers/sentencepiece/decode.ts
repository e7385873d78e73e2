import { PieceType, type SentencePieceModel } from './model'

const underline = '\u2581'

/**
 * Text of pieces as they come, as SentencePiece's Decode makes it: a space that its normaliser put first is taken off again,
 * and byte pieces wait until they make a whole character.
 */
export class PieceText {
  private bytes: number[] = []
  /** Nothing was written yet, so a space in front would be the normaliser's. */
  private atStart = true
  private readonly trims: boolean

  /** @param texts what some pieces decode to instead of their own text */
  constructor(private readonly model: SentencePieceModel, private readonly texts?: ReadonlyMap<number, string>) {
    const { addDummyPrefix, removeExtraWhitespaces } = model.normalizer
    this.trims = addDummyPrefix || removeExtraWhitespaces
  }

  /** Text that is certain now; ids without a piece have none. */
  push(id: number): string {
    const type = this.model.types[id]
    if (type === undefined) return ''
    if (type === PieceType.byte) {
      this.bytes.push(parseInt(this.model.pieces[id].slice(3, 5), 16))
      return this.wrote(this.takeBytes(false))
    }
    const before = this.wrote(this.takeBytes(true))
    return before + this.whole(id, type)
  }

  /**
   * What is left, as U+FFFD where it makes no character.
   * @param anew true: the next piece starts a text, so that a space before it is the normaliser's
   */
  flush(anew: boolean): string {
    const text = this.takeBytes(true)
    this.atStart = anew
    return text
  }

  private whole(id: number, type: number): string {
    if (type === PieceType.control) return ''
    if (type === PieceType.unknown) return this.wrote(this.model.unknownSurface)
    const own = this.texts?.get(id)
    if (own !== undefined) return this.wrote(own)
    let piece = this.model.pieces[id]
    if (this.atStart && this.trims && piece.startsWith(underline)) {
      piece = piece.slice(1)
      // A dummy prefix is one space; extra white space is removed however much there is.
      if (!this.model.normalizer.removeExtraWhitespaces) this.atStart = false
    }
    return this.wrote(piece.replaceAll(underline, ' '))
  }

  private wrote(text: string): string {
    if (text !== '') this.atStart = false
    return text
  }

  /** @param all false: bytes that may become a character stay */
  private takeBytes(all: boolean): string {
    const { bytes } = this
    let text = ''
    let at = 0
    while (at < bytes.length) {
      const length = characterAt(bytes, at)
      if (length === 0 && !all) break
      text += length > 0 ? Buffer.from(bytes.slice(at, at + length)).toString('utf8') : '\uFFFD'
      at += Math.max(1, length)
    }
    this.bytes = at === bytes.length ? [] : bytes.slice(at)
    return text
  }
}

/** Length of the character at a place; 0: it may still become one; -1: it is none, whatever follows. */
function characterAt(bytes: readonly number[], at: number): number {
  const first = bytes[at]
  if (first < 0x80) return 1
  if (first < 0xc2 || first > 0xf4) return -1
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  for (let i = 1; i < length; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) return 0
    const least = i > 1 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
    const most = i > 1 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
    if (byte < least || byte > most) return -1
  }
  return length
}
