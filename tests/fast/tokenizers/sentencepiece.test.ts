import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { rowEncoder } from 'fettle/dist/data/encode'
import { loadTokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../../support/paths'
import { bytePieces, firstPieces, pieceTypes, sentencePieceFile, type Piece } from '../../support/sentencepiece'
import { temporaryFolder } from '../../support/tiny'
import { assertDecodes, assertEncodes, modelCases } from './support'

const golden = (name: string): string => fixture('golden', 'tokenizers', name)
const models = fs.readdirSync(fixture('tokenizers', 'sentencepiece')).filter((name) => name.endsWith('.model')).map((name) => fixture('tokenizers', 'sentencepiece', name))

for (const model of [golden('sentencepiece-bpe.model'), golden('sentencepiece-unigram.model'), ...models]) {
  test(`${path.basename(model)} alone gives sentencepiece's ids and texts, streamed too`, async () => {
    const tokenizer = loadTokenizer(model)
    for (const row of modelCases(model.replace(/\.model$/, '.json'))) {
      if (row.text !== undefined) await assertEncodes(tokenizer, row.text, row.ids)
      assertDecodes(tokenizer, row.ids, row.decoded ?? row.text!)
    }
  })
}

/** A folder with a model and JSON files beside it. */
function folderOf(t: TestContext, model: string | Buffer, beside: Record<string, unknown> = {}): string {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'tokenizer.model'), typeof model === 'string' ? fs.readFileSync(model) : model)
  for (const [name, content] of Object.entries(beside)) fs.writeFileSync(path.join(folder, name), JSON.stringify(content))
  return folder
}

test('LLaMA: BOS goes first, EOS pads, and special tokens are text unless the files or a template make them tokens', async (t) => {
  const bare = loadTokenizer(folderOf(t, golden('sentencepiece-bpe.model')))
  assert.deepEqual([bare.bosId, bare.eosId, bare.padId, bare.vocabSize], [1, 2, 2, 480])
  assert.deepEqual([bare.added.before, bare.added.after], [[1], []])
  assert.equal((await bare.encode('a', { special: true }))[0], 1)
  assert.ok(!(await bare.encode('a</s>')).includes(2))
  assert.deepEqual((await bare.encode('</s>a', { rendered: true })).slice(0, 1), [2])
  assert.equal(bare.decode([1, ...await bare.encode('the model'), 2]), '<s>the model</s>')
  assert.equal(bare.decode([1, ...await bare.encode('the model'), 2], { skipSpecial: true }), 'the model')

  const named = loadTokenizer(folderOf(t, golden('sentencepiece-bpe.model'), { 'tokenizer_config.json': { add_bos_token: false, add_eos_token: true } }))
  assert.deepEqual(await named.encode('<s></s><unk>'), [1, 2, 0])
  assert.deepEqual(named.added, { before: [], after: [2] })
})

test('LLaMA: tokens of the files beside the model, and the space before each stretch of text or before the first alone', async (t) => {
  const token = (content: string) => ({ content, special: true, lstrip: false, rstrip: false, normalized: false, single_word: false })
  const config = {
    bos_token: '<s>', eos_token: { content: '<|im_end|>' }, pad_token: '<pad>', additional_special_tokens: [{ content: '<extra>' }],
    added_tokens_decoder: { 480: token('<|im_start|>'), 481: token('<|im_end|>') },
    chat_template: '{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}',
  }
  const each = loadTokenizer(folderOf(t, golden('sentencepiece-bpe.model'), { 'tokenizer_config.json': config, 'added_tokens.json': { '<tool>': 482 } }))
  const first = loadTokenizer(folderOf(t, golden('sentencepiece-bpe.model'), { 'tokenizer_config.json': { ...config, legacy: false }, 'added_tokens.json': { '<tool>': 482 } }))
  // Special tokens that no file numbers come behind all others.
  assert.deepEqual(['<|im_end|>', '<tool>', '<pad>', '<extra>', '▁the', '?'].map((text) => each.idOf(text)), [481, 482, 483, 484, each.idOf('▁the'), null])
  assert.deepEqual([each.eosId, each.padId, each.vocabSize], [481, 483, 485])
  const chat = [{ role: 'user', content: 'the model' }]
  const spaced = await each.encode('the model')
  assert.deepEqual(await each.encodeChat(chat), [1, 480, ...spaced, 481])
  const joined = await first.encodeChat(chat)
  assert.notDeepEqual(joined.slice(2, -1), spaced)
  for (const tokenizer of [each, first]) {
    assert.equal(tokenizer.decode(await tokenizer.encodeChat(chat)), '<s><|im_start|>the model<|im_end|>')
    assert.equal(tokenizer.decode(await tokenizer.encode('the<tool> x')), 'the<tool> x')
  }
  assert.notEqual(each.fingerprint, first.fingerprint)
})

test("T5's file name: EOS ends a text, and no BOS begins it", (t) => {
  const folder = temporaryFolder(t)
  fs.copyFileSync(golden('sentencepiece-unigram.model'), path.join(folder, 'spiece.model'))
  assert.deepEqual(loadTokenizer(folder).added, { before: [], after: [2] })
})

test('marks: the token at a place, and a border where one straddles it, without a second space', async () => {
  for (const model of [golden('sentencepiece-bpe.model'), golden('sentencepiece-unigram.model')]) {
    const tokenizer = loadTokenizer(model)
    const text = '<s>😀 the model</s>'
    const at = text.indexOf('model') + 2
    const [free, split] = await tokenizer.encodeMarked([
      { text, marks: [{ at: 3, split: false }, { at, split: false }, { at: text.length, split: false }] },
      { text, marks: [{ at: 3, split: false }, { at, split: true }, { at: text.length, split: false }] },
    ])
    assert.deepEqual([...free.ids], await tokenizer.encode(text, { rendered: true }))
    assert.deepEqual([free.cuts[0], free.cuts[1], free.cuts[2]], [1, free.ids.length - 1, free.ids.length])
    assert.equal(tokenizer.decode(split.ids), tokenizer.decode(free.ids))
    assert.equal(tokenizer.decode(split.ids.subarray(split.cuts[1])), 'del</s>')
  }
})

test("LLaMA 2's chat template: a prompt's ids begin the training row's, and EOS is trained", async (t) => {
  const template = "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
  for (const legacy of [true, false]) {
    const tokenizer = loadTokenizer(folderOf(t, golden('sentencepiece-bpe.model'), { 'tokenizer_config.json': { legacy, chat_template: template } }))
    const encoder = rowEncoder(tokenizer, { template: 'auto', system: null, srcLength: 200, maxLength: 400 })
    const row = { src: ['the model', '类型'], tgt: ['learns from data', '蓝色'] }
    const [{ ids, labels }] = await encoder.encode([row])
    const prompt = await encoder.prompt({ src: row.src, tgt: row.tgt.slice(0, 1) })
    assert.deepEqual([...ids.subarray(0, prompt.length)], prompt)
    assert.equal(tokenizer.decode(labels.filter((label) => label >= 0)), legacy ? 'learns from data </s>蓝色 </s>' : 'learns from data </s> 蓝色 </s>')
    assert.equal(tokenizer.decode(ids), '<s>[INST] the model [/INST] learns from data </s><s>[INST] 类型 [/INST] 蓝色 </s>')
  }
})

const tinyPieces: readonly Piece[] = [...firstPieces, ...['▁', 'a', 'b'].map((text, i) => ({ text, score: -i, type: pieceTypes.normal }))]

test('unknown characters: one token a run, or bytes that stream as whole characters', async (t) => {
  const without = loadTokenizer(folderOf(t, sentencePieceFile(tinyPieces, { kind: 'unigram' })))
  assert.deepEqual(await without.encode('a中文b'), [3, 4, 0, 5])
  assert.equal(without.decode([3, 4, 0, 5]), 'a \u2047 b')
  const withBytes = loadTokenizer(folderOf(t, sentencePieceFile([...tinyPieces, ...bytePieces], { kind: 'bpe', byteFallback: true })))
  const ids = await withBytes.encode('a😀')
  const stream = withBytes.streamDecoder()
  assert.deepEqual(ids.map((id) => stream.push(id)), ['', 'a', '', '', '', '😀'])
  // Three bytes of four: nothing until it is certain that no character comes.
  const cut = withBytes.streamDecoder()
  assert.deepEqual([...ids.slice(0, 5).map((id) => cut.push(id)), cut.push(4)], ['', 'a', '', '', '', '\uFFFD\uFFFD\uFFFDa'])
  assert.equal(withBytes.decode(ids.slice(0, 5)), 'a\uFFFD\uFFFD\uFFFD')
  assert.equal(withBytes.tokenOf(ids[2]), '<0xF0>')
  assert.equal(withBytes.tokenOf(999), '<no token 999>')
})

test('half of a character in JavaScript is no character: it encodes as U+FFFD', async (t) => {
  const tokenizer = loadTokenizer(folderOf(t, sentencePieceFile([...tinyPieces, ...bytePieces], { kind: 'bpe', byteFallback: true })))
  assert.deepEqual(await tokenizer.encode('a\uD83D'), await tokenizer.encode('a\uFFFD'))
  const [marked] = await tokenizer.encodeMarked([{ text: 'a\uD83Db', marks: [{ at: 2, split: true }] }])
  assert.deepEqual(marked.cuts, [marked.ids.length - 1])
})

test('files that are no whole SentencePiece model are refused by name', (t) => {
  const whole = fs.readFileSync(golden('sentencepiece-unigram.model'))
  const refused = (bytes: Buffer, message: RegExp): void => assert.throws(() => loadTokenizer(folderOf(t, bytes)), { name: 'ModelError', code: 'tokenizer.sentencepiece', message })
  refused(whole.subarray(0, whole.length - 1000), /tokenizer\.model: is no whole SentencePiece model: it ends inside a field at byte \d+; download the file again/)
  refused(whole.subarray(0, 2000), /is no whole SentencePiece model|has no/)
  refused(Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:1'), /Git LFS pointer/)
  refused(Buffer.from('IQ== 0\nIg== 1\n'), /is a tiktoken file/)
  refused(Buffer.from('<!DOCTYPE html>'), /is no whole SentencePiece model/)
  refused(sentencePieceFile(tinyPieces.slice(1), { kind: 'bpe' }), /no piece for unknown characters/)
  refused(sentencePieceFile([...tinyPieces, tinyPieces[4]], { kind: 'bpe' }), /the piece "a" twice/)
  refused(sentencePieceFile([...tinyPieces, ...bytePieces.slice(1)], { kind: 'bpe', byteFallback: true }), /255 byte pieces, expected 256/)
})
