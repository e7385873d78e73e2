import type { StreamDecoder } from './types'

/** An unfinished UTF-8 character has at most three bytes, and each waiting token has at least one. */
const longestWait = 3

/**
 * Streams text as ids come, holding back ids whose bytes do not yet make a whole character. The text before the newest
 * ids is decoded with them, because some decoders treat the first token of a text differently.
 */
export function streamDecoder(decode: (ids: readonly number[]) => string): StreamDecoder {
  let ids: number[] = []
  /** ids[0, shown) are out already, as `context`. */
  let shown = 0
  let context = ''

  const show = (count: number, text: string): string => {
    const out = text.slice(context.length)
    ids = ids.slice(shown)
    shown = count - shown
    context = decode(ids.slice(0, shown))
    return out
  }
  return {
    push(id) {
      ids.push(id)
      const text = decode(ids)
      if (!text.endsWith('\uFFFD')) return text.length > context.length ? show(ids.length, text) : ''
      // What is older than an unfinished character can be will not become whole any more.
      const old = ids.length - longestWait
      const part = old > shown ? decode(ids.slice(0, old)) : ''
      return part.length > context.length && text.startsWith(part) ? show(old, part) : ''
    },
    flush() {
      const out = decode(ids).slice(context.length)
      ids = []
      shown = 0
      context = ''
      return out
    }
  }
}
