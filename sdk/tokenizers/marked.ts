import type { Encoding } from 'tokenizers'
import type { Mark, MarkedIds } from './types'

interface MarkedText { readonly text: string; readonly marks: readonly Mark[] }

/** Encodes texts and finds the token at each mark; a text with a token across a `split` mark is encoded in parts. */
export async function encodeMarked(encode: (texts: string[]) => Promise<Encoding[]>, texts: readonly MarkedText[]): Promise<MarkedIds[]> {
  const encodings = await encode(texts.map(t => t.text))
  return Promise.all(encodings.map(async (encoding, i) => {
    const found = findMarks(encoding, texts[i])
    if (found.straddled.length === 0) return { ids: new Int32Array(encoding.getIds()), cuts: found.cuts }
    return joinParts(await encodeMarked(encode, partsOf(texts[i], found.straddled)))
  }))
}

/** The library counts places in code points, JavaScript in UTF-16 units. */
function findMarks(encoding: Encoding, { text, marks }: MarkedText): { cuts: number[]; straddled: number[] } {
  const wide = /[\uD800-\uDFFF]/.test(text)
  const codePoints = (from: number, to: number): number => wide ? countCodePoints(text, from, to) : to - from
  const total = codePoints(0, text.length)
  const cuts: number[] = []
  const straddled: number[] = []
  let place = 0
  let counted = 0
  for (const { at, split } of marks) {
    place += codePoints(counted, at)
    counted = at
    const token = tokenFrom(encoding, place, total)
    const straddles = token !== null && encoding.tokenToChars(token)![0] < place
    if (straddles && split) straddled.push(at)
    cuts.push(token === null ? encoding.getLength() : straddles ? afterPlace(encoding, token, place) : token)
  }
  return { cuts, straddled }
}

/** Without an array of the characters, which a long text would fill memory with. */
function countCodePoints(text: string, from: number, to: number): number {
  let count = 0
  for (let i = from; i < to; count++) i += i + 1 < to && text.codePointAt(i)! > 0xffff ? 2 : 1
  return count
}

/** The first token that holds the place or, where a normalizer dropped that character, the next one. */
function tokenFrom(encoding: Encoding, place: number, total: number): number | null {
  for (let i = place; i < total; i++) {
    const token = encoding.charToToken(i)
    if (token !== null) return token
  }
  return null
}

function afterPlace(encoding: Encoding, token: number, place: number): number {
  let next = token
  while (next < encoding.getLength() && encoding.tokenToChars(next)![0] < place) next++
  return next
}

/** Cuts the text at the straddled places; a mark at a border belongs to the part that begins there. */
function partsOf({ text, marks }: MarkedText, places: readonly number[]): MarkedText[] {
  const borders = [0, ...new Set(places), text.length]
  return borders.slice(0, -1).map((from, i) => {
    const to = borders[i + 1]
    const last = i === borders.length - 2
    const inside = marks.filter(m => m.at >= from && (m.at < to || last))
    return { text: text.slice(from, to), marks: inside.map(m => ({ ...m, at: m.at - from })) }
  })
}

function joinParts(parts: readonly MarkedIds[]): MarkedIds {
  const ids = new Int32Array(parts.reduce((sum, p) => sum + p.ids.length, 0))
  const cuts: number[] = []
  let at = 0
  for (const part of parts) {
    ids.set(part.ids, at)
    for (const cut of part.cuts) cuts.push(at + cut)
    at += part.ids.length
  }
  return { ids, cuts }
}
