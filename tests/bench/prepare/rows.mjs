// Rows of the bench: lines of the CMU pronouncing dictionary (`word P R O N`), cut to lengths drawn by a law; the second
// half of a row is supervised. The same on every machine.
import { dictionary } from 'cmu-pronouncing-dictionary'

/** Laws of row lengths: what a table calls them, rows a step, rows made, and a row's length in tokens. */
export const laws = {
  short: { title: 'short rows (mean 18 tokens)', batch: 8, count: 240, longest: 40, draw: (normal) => 18 + 4 * normal() },
  heavy: { title: 'heavy-tailed rows (mean about 80 tokens, longest 1,000)', batch: 8, count: 240, longest: 1000, draw: (normal) => 45 * Math.exp(1.07 * normal()) },
  1024: { title: 'rows of 1,024 tokens', batch: 2, count: 60, longest: 1024, draw: () => 1024 },
  4096: { title: 'rows of 4,096 tokens', batch: 1, count: 30, longest: 4096, draw: () => 4096 },
}

/** A generator of uniform numbers in [0, 1) (mulberry32). */
export function uniform(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function shuffle(items, random) {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[items[i], items[j]] = [items[j], items[i]]
  }
  return items
}

/** Lengths in tokens, none below 8: `heavy` is log-normal with median 45 and σ 1.07, its longest set to 1,000; `short` is normal with deviation 4. */
export function lengths(law, random) {
  const { count, longest, draw } = laws[law]
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const drawn = Array.from({ length: count }, () => Math.min(longest, Math.max(8, Math.round(draw(normal)))))
  if (law === 'heavy') drawn[drawn.indexOf(Math.max(...drawn))] = longest
  return drawn
}

/** Batches in the order drawn, but the one with most tokens first: all sides reach their largest memory in warm-up. */
export function largestFirst(rows, batch) {
  const batches = Array.from({ length: Math.floor(rows.length / batch) }, (_, i) => rows.slice(i * batch, (i + 1) * batch))
  const size = (b) => b.reduce((sum, row) => sum + row.ids.length, 0)
  const largest = batches.reduce((best, b) => (size(b) > size(best) ? b : best))
  return [largest, ...batches.filter((b) => b !== largest)].flat()
}

/** `{ batch, rows: [{ ids, supervisedFrom, src, tgt }] }` of a law; the texts are those of the ids, for the side that starts from text. */
export async function rowsOf(law, tokenizer) {
  const random = uniform(20), words = shuffle(Object.keys(dictionary).sort(), random), { batch } = laws[law]
  let next = 0
  const rows = []
  for (const length of lengths(law, random)) {
    let ids = []
    while (ids.length < length) {
      const lines = Array.from({ length: 8 + length / 8 }, () => words[next++ % words.length]).map((word) => `${word} ${dictionary[word]}`)
      ids = ids.concat(await tokenizer.encode(`${lines.join('\n')}\n`))
    }
    const supervisedFrom = Math.floor(length / 2)
    rows.push({ ids: ids.slice(0, length), supervisedFrom, src: await tokenizer.decode(ids.slice(0, supervisedFrom)), tgt: await tokenizer.decode(ids.slice(supervisedFrom, length)) })
  }
  return { batch, rows: largestFirst(rows, batch) }
}
