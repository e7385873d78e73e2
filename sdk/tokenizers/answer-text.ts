import type { Tokenizer } from './types'

/**
 * The text of one answer as its tokens come. A stop string ends it and is not part of it; text that may turn out to be
 * the start of one is held back until that is known.
 */
export class AnswerText {
  /** All text so far, held-back text included. */
  text = ''
  /** True after a stop string, or `end()`: further tokens are not taken. */
  ended = false
  private shown = 0
  private readonly stream
  private readonly stop: readonly string[]

  /**
   * @param stop strings that end the answer; empty ones are left out
   * @param show takes each piece of text as soon as it is known to belong to the answer
   */
  constructor(tokenizer: Pick<Tokenizer, 'streamDecoder'>, stop: readonly string[], private readonly show: (text: string) => void) {
    this.stream = tokenizer.streamDecoder({ skipSpecial: true })
    this.stop = stop.filter((text) => text !== '')
  }

  /** Takes the next token. */
  push(id: number): void {
    if (!this.ended) this.add(this.stream.push(id))
  }

  /** No token comes any more: shows what was held back, and returns the whole answer. */
  end(): string {
    if (!this.ended) {
      this.add(this.stream.flush())
      this.ended = true
      this.release(this.text.length)
    }
    return this.text
  }

  private add(piece: string): void {
    this.text += piece
    const found = this.stop.map((stop) => this.text.indexOf(stop)).filter((at) => at >= 0)
    if (found.length > 0) {
      this.text = this.text.slice(0, Math.min(...found))
      this.ended = true
    }
    this.release(this.ended ? this.text.length : this.text.length - this.held())
  }

  /** Length of the longest end of the text that begins a stop string. */
  private held(): number {
    return Math.max(0, ...this.stop.map((stop) => {
      for (let n = Math.min(stop.length - 1, this.text.length); n > 0; n--) if (this.text.endsWith(stop.slice(0, n))) return n
      return 0
    }))
  }

  private release(to: number): void {
    if (to <= this.shown) return
    this.show(this.text.slice(this.shown, to))
    this.shown = to
  }
}
