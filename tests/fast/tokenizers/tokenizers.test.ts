import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { loadTokenizer, tokenizerFromGguf, tokenizerJsonFromGguf } from 'fettle/dist/tokenizers'
import type { GgufTokenizerMaterial } from 'fettle/dist/models/weights/types'
import { fixture } from '../../support/paths'
import { byteTokenizer, temporaryFolder } from '../../support/tiny'
import { goldenCases, sentencePieceMaterial } from './support'

const smollm2 = loadTokenizer(fixture('tokenizers', 'smollm2'))

test('a tokenizer.json folder gives the reference ids and texts', async () => {
  const cases = goldenCases('smollm2')
  const batch = await smollm2.encodeBatch(cases.map(c => c.text))
  for (const [i, { text, ids, decoded }] of cases.entries()) {
    assert.deepEqual(await smollm2.encode(text), ids, JSON.stringify(text))
    assert.deepEqual([...batch[i]], ids)
    assert.equal(smollm2.decode(ids), decoded ?? text)
  }
  assert.deepEqual([smollm2.bosId, smollm2.eosId, smollm2.padId, smollm2.vocabSize > 1500], [1, 2, 2, true])
})

test('streaming gives the same text, in whole characters only', async () => {
  for (const { ids, text, decoded } of goldenCases('smollm2')) {
    const stream = smollm2.streamDecoder()
    const pieces = ids.map(id => stream.push(id))
    pieces.push(stream.flush())
    assert.equal(pieces.join(''), decoded ?? text)
    for (const piece of pieces) assert.ok(!/\uFFFD/.test(piece) || text.includes('\uFFFD'), JSON.stringify(pieces))
  }
})

test('streaming bytes that never make a character neither stops nor loses what follows', async () => {
  // 27 tokens of 0xF0, the first byte of a four-byte character, then words.
  const [first] = await smollm2.encode('𝄞')
  const word = await smollm2.encode(' hello 😀!')
  const ids = [...Array<number>(27).fill(first), ...word]
  const stream = smollm2.streamDecoder()
  const text = ids.map(id => stream.push(id)).join('') + stream.flush()
  assert.equal(text, smollm2.decode(ids))
  assert.ok(text.endsWith(' hello 😀!'))
})

test('special tokens: left out on request, never invented for ids without a token', async () => {
  const ids = await smollm2.encode('<|im_start|>user\nHi<|im_end|>')
  assert.equal(smollm2.decode(ids, { skipSpecial: true }), 'user\nHi')
  assert.equal(smollm2.decode([...ids, 49999]), '<|im_start|>user\nHi<|im_end|>')
  assert.equal(smollm2.tokenOf(ids[0]), '<|im_start|>')
  assert.equal(smollm2.tokenOf(49999), '<no token 49999>')
})

test('marks: the token at a place, and a split where one straddles it', async () => {
  const text = '😀 and the end'
  const at = text.indexOf('the') + 2
  const [free, split] = await smollm2.encodeMarked([
    { text, marks: [{ at: 2, split: false }, { at, split: false }, { at: text.length, split: false }] },
    { text, marks: [{ at: 2, split: false }, { at, split: true }, { at: text.length, split: false }] }
  ])
  assert.deepEqual([...free.ids], await smollm2.encode(text))
  assert.equal(smollm2.decode(free.ids.subarray(0, free.cuts[0])), '😀')
  // " the" holds the place, so " end" is the first token after it.
  assert.deepEqual(free.cuts.slice(1), [free.ids.length - 1, free.ids.length])
  assert.deepEqual([...split.ids], [...await smollm2.encode(text.slice(0, at)), ...await smollm2.encode(text.slice(at))])
  assert.equal(smollm2.decode(split.ids.subarray(split.cuts[1])), 'e end')
})

test('BOS: added by the tokenizer on request, written once in a chat whose template writes it', async t => {
  const folder = temporaryFolder(t)
  const bos = { SpecialToken: { id: '<s>', type_id: 0 } }
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify({
    ...byteTokenizer(), truncation: { max_length: 3, stride: 0, strategy: 'LongestFirst', direction: 'Right' },
    post_processor: { type: 'TemplateProcessing', single: [bos, { Sequence: { id: 'A', type_id: 0 } }], pair: [], special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } } }
  }))
  fs.writeFileSync(path.join(folder, 'tokenizer_config.json'), JSON.stringify({ bos_token: { content: '<s>' }, eos_token: '</s>', added_tokens_decoder: { 300: { content: '<extra>', special: true, single_word: false, lstrip: false, rstrip: false, normalized: false } } }))
  fs.writeFileSync(path.join(folder, 'chat_template.jinja'), '{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}')
  const tokenizer = loadTokenizer(folder)
  assert.deepEqual(tokenizer.added, { before: [1], after: [] })
  const ids = await tokenizer.encode('a long text', { special: true })
  assert.deepEqual([ids[0], ids.length], [1, 12])
  const chat = await tokenizer.encodeChat([{ role: 'user', content: 'hi' }])
  assert.deepEqual([chat.filter(id => id === 1).length, chat[0], chat.at(-1)], [1, 1, 2])
  assert.equal((await tokenizer.encode('<extra>')).length, 1)
})

test('a GGUF SentencePiece vocabulary gives the ids of sentencepiece', async () => {
  const tokenizer = tokenizerFromGguf(sentencePieceMaterial(fixture('golden', 'tokenizers', 'sentencepiece-bpe.model')))
  for (const { text, ids, decoded } of goldenCases('sentencepiece-bpe')) {
    // sentencepiece reads special tokens as text; a model's tokenizer, as transformers makes it, reads them as tokens.
    if (text === '<s></s><unk>') continue
    assert.deepEqual(await tokenizer.encode(text), ids, JSON.stringify(text))
    assert.equal(tokenizer.decode(ids), decoded ?? text)
  }
  assert.deepEqual(await tokenizer.encode('<s></s><unk>'), [1, 2, 0])
  assert.equal((await tokenizer.encode('a', { special: true }))[0], 1)
})

const material = (extra: Partial<GgufTokenizerMaterial>): GgufTokenizerMaterial =>
  ({ kind: 'gguf', path: 'x.gguf', model: 'gpt2', pre: 'gpt-2', tokens: ['<s>', 'a', 'b', 'ab'], merges: ['a b'], tokenTypes: [3, 1, 1, 1], ids: { bos: 0, eos: 0 }, ...extra })

test('a GGUF byte-level vocabulary: split rule, BOS and special tokens from the file', async () => {
  const tokenizer = tokenizerFromGguf(material({ addBos: true }))
  assert.deepEqual(await tokenizer.encode('ab<s>ba', { special: true }), [0, 3, 0, 2, 1])
  assert.deepEqual(await tokenizer.encode('ab'), [3])
  // llama-bpe adds BOS unless the file says otherwise.
  assert.deepEqual(tokenizerFromGguf(material({ pre: 'llama-bpe' })).added.before, [0])
  assert.deepEqual(tokenizerFromGguf(material({ pre: 'llama-bpe', addBos: false })).added.before, [])
})

test('every split rule works, and keeps all of a text', async () => {
  const { splitRules } = require('fettle/dist/tokenizers/gguf-pre') as typeof import('fettle/dist/tokenizers/gguf-pre')
  const { model } = byteTokenizer() as { model: { vocab: Record<string, number> } }
  const tokens = Object.keys(model.vocab)
  const text = "It's 12345 caf\u00e9s (\u4e2d\u6587), don't\r\n\n  WE'LL see\ttabs \ud83d\ude00!"
  for (const pre of Object.keys(splitRules)) {
    const tokenizer = tokenizerFromGguf(material({ pre, tokens, merges: [], tokenTypes: tokens.map((_, id) => (id < 3 ? 3 : 1)), ids: { bos: 1, eos: 2 } }))
    assert.equal(tokenizer.decode(await tokenizer.encode(text)), text, pre)
  }
})

test('GGUF tokenizers that Fettle does not read are refused by name', () => {
  const refused = (extra: Partial<GgufTokenizerMaterial>, pattern: RegExp): void =>
    assert.throws(() => tokenizerJsonFromGguf(material(extra)), { code: 'tokenizer.gguf', message: pattern })
  refused({ model: 't5' }, /kind "t5"/)
  refused({ pre: 'my-split' }, /"my-split", which Fettle does not know; known rules: smollm,/)
  refused({ pre: undefined }, /tokenizer\.ggml\.pre is missing/)
  refused({ merges: undefined }, /no tokenizer\.ggml\.merges/)
  refused({ merges: ['ab'] }, /merge "ab", expected two tokens/)
  refused({ tokens: ['a', 'a'] }, /token "a" twice/)
  refused({ model: 'llama' }, /no tokenizer\.ggml\.scores/)
})

test('a model without a tokenizer loads, and says why on use', async t => {
  const folder = temporaryFolder(t)
  const none = loadTokenizer(folder)
  assert.equal(none.eosId, null)
  await assert.rejects(none.encode('a'), { code: 'tokenizer.missing', message: /has no tokenizer; .*--ids/ })
  fs.writeFileSync(path.join(folder, 'tokenizer.model'), '')
  assert.throws(() => loadTokenizer(folder), { code: 'tokenizer.sentencepiece', message: /tokenizer\.model: is empty; download the file again/ })
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), '{"model":')
  assert.throws(() => loadTokenizer(folder), { code: 'tokenizer.file', message: /tokenizer\.json: is not JSON/ })
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), '{"model":{"type":"Odd"}}')
  await assert.rejects(loadTokenizer(folder).encode('a'), { code: 'tokenizer.file', message: /cannot be built/ })
})
