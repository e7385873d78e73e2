import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { test } from 'node:test'
import { Tokenizer as Library } from 'tokenizers'
import { seededRandom } from 'fettle/dist/data/random'
import { bytePair } from 'fettle/dist/tokenizers/byte-pair'
import { splitRules } from 'fettle/dist/tokenizers/gguf-pre'
import { encodeMarked } from 'fettle/dist/tokenizers/marked'
import type { TokenizerJson } from 'fettle/dist/tokenizers/spec'
import { fixture } from '../../support/paths'

const base = JSON.parse(fs.readFileSync(fixture('tokenizers', 'smollm2', 'tokenizer.json'), 'utf8')) as TokenizerJson

/** The fixture's vocabulary under another rule of splitting. */
function under(rule: string): TokenizerJson {
  const { normalizer, preTokenizer, ignoreMerges } = splitRules[rule]
  return { ...base, normalizer, pre_tokenizer: preTokenizer, model: { ...base.model, ignore_merges: ignoreMerges } }
}

const rules = ['gpt-2', 'llama-bpe', 'qwen2']

const pieces = [
  ' ', '  ', '   ', '\n', '\r\n', '\t', '\u00a0', '\u3000', '\u0085', '\u2028', 'a', 'The', ' quick', 'FOX', 'x1', '1', '23', '456789', '²', '٣', '½', "'s", "'S", "'ll", "'RE", "'", "'ſ", "''t", '.', '...', '!?', ' -', '$', '_',
  'é', 'e\u0301', 'ß', 'Ж', 'א', 'ـ', '裙', '连衣裙', '。', '😀', '👩‍👩‍👧', '𠀀', '𝟘', '\u200d', '\ufeff', '\u0000', 'ﬁ', '<|im_end|>', '<|im_start|>', '<|im_', '<', '|>', '<|endoftext|>', 'ing', 'tion', ' the'
]

for (const rule of rules) {
  test(`${rule}: the library's ids for any text`, async t => {
    const json = under(rule), own = bytePair(json)!, library = Library.fromString(JSON.stringify(json)), random = seededRandom(5)
    const texts = Array.from({ length: 3000 }, () => Array.from({ length: random() % 14 }, () => pieces[random() % pieces.length]).join(''))
    let answered = 0
    const expected = await library.encodeBatch(texts, { addSpecialTokens: false })
    texts.forEach((text, i) => {
      const ids = own.encode(text)
      if (ids === null) return
      answered++
      assert.deepEqual(Array.from(ids), expected[i].getIds(), JSON.stringify(text))
    })
    assert.ok(answered > 0.5 * texts.length, `${answered} of ${texts.length}`)
    t.diagnostic(`${answered} of ${texts.length} texts without the library`)
  })

  test(`${rule}: the library's ids for every character, alone and between others`, async () => {
    const json = under(rule), own = bytePair(json)!, library = Library.fromString(JSON.stringify(json))
    const texts: string[] = []
    for (let first = 0; first < 0x11000; first += 64) {
      const all = Array.from({ length: 64 }, (_, i) => first + i).filter(code => code < 0xd800 || code > 0xdfff).map(code => String.fromCodePoint(code))
      texts.push(...[all.map(c => `a${c}b 1${c}2 ${c}. `).join(''), all.join('  '), all.join('')].map(text => json.normalizer === null ? text : text.normalize('NFC')))
    }
    const expected = await library.encodeBatch(texts, { addSpecialTokens: false })
    let unknown = 0
    texts.forEach((text, i) => {
      const ids = own.encode(text)
      if (ids === null) unknown++
      else assert.deepEqual(Array.from(ids), expected[i].getIds(), JSON.stringify(text))
    })
    assert.ok(unknown < 0.2 * texts.length, `${unknown} of ${texts.length}`)
  })

  test(`${rule}: marks are where the library has them`, async () => {
    const json = under(rule), own = bytePair(json)!, library = Library.fromString(JSON.stringify({ ...json, post_processor: null })), random = seededRandom(9)
    const marked = Array.from({ length: 3000 }, () => {
      const text = Array.from({ length: 1 + random() % 9 }, () => pieces[random() % pieces.length]).join('')
      const places = Array.from({ length: 3 }, () => random() % (text.length + 1)).sort((a, b) => a - b).filter(at => !(text.charCodeAt(at) >= 0xdc00 && text.charCodeAt(at) <= 0xdfff))
      return { text, marks: places.map(at => ({ at, split: random() % 2 === 0 })) }
    }).filter(({ text }) => json.normalizer === null || text.normalize('NFC') === text)
    const expected = await encodeMarked(batch => library.encodeBatch(batch, { addSpecialTokens: false }), marked)
    let answered = 0
    marked.forEach(({ text, marks }, i) => {
      const found = own.encodeMarked(text, marks)
      if (found === null) return
      answered++
      assert.deepEqual([Array.from(found.ids), found.cuts], [Array.from(expected[i].ids), expected[i].cuts], JSON.stringify({ text, marks }))
    })
    assert.ok(answered > 300, String(answered))
  })
}

test('what only the library can tell is left to it', () => {
  assert.equal(bytePair({ ...base, normalizer: { type: 'Lowercase' } }), null)
  assert.equal(bytePair({ ...base, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } }), null)
  assert.equal(bytePair({ ...base, model: { ...base.model, type: 'Unigram' } }), null)
  assert.equal(bytePair({ ...base, model: { ...base.model, byte_fallback: true } }), null)
  assert.equal(bytePair({ ...base, added_tokens: base.added_tokens.map(token => ({ ...token, lstrip: true })) }), null)
  const own = bytePair(base)!
  assert.equal(own.encode('a'.repeat(600)), null)
  assert.equal(own.encode('half \ud83d of it'), null)
  assert.equal(own.encodeMarked('whole', [{ at: 2, split: false }]), null)
  assert.deepEqual([own.encode('')!.length, own.encodeMarked('', [{ at: 0, split: true }])!.cuts], [0, [0]])
})
