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
    const out = after(context, text)
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
      const out = after(context, decode(ids))
      ids = []
      shown = 0
      context = ''
      return out
    }
  }
}

/** What `text` has behind `context`. Bytes that were shown as a replacement character may have become a part of a longer
 * character since: its second half alone would be no text. */
function after(context: string, text: string): string {
  const at = context.length, halves = /^[\uD800-\uDBFF][\uDC00-\uDFFF]$/.test(text.slice(at - 1, at + 1))
  return text.slice(halves ? at + 1 : at)
}
