import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { loadTokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'
import { assertDecodes, assertEncodes, modelCases } from './support'

const one = fixture('tokenizers', 'chatglm'), two = fixture('tokenizers', 'chatglm2')

test("ChatGLM-6B: PaddleNLP's ids, white space as pieces, [gMASK] <sop> behind", async () => {
  const tokenizer = loadTokenizer(one)
  for (const { text, ids, special, decoded } of modelCases(path.join(one, 'cases.json'))) {
    await assertEncodes(tokenizer, text!, ids)
    assert.deepEqual(await tokenizer.encode(text!, { special: true }), special)
    assertDecodes(tokenizer, ids, decoded!, { skipSpecial: true })
  }
  const id = (piece: string): number => tokenizer.idOf(piece)!
  assert.deepEqual(tokenizer.added, { before: [], after: [id('[gMASK]'), id('<sop>')] })
  assert.deepEqual([tokenizer.bosId, tokenizer.eosId, tokenizer.padId], [id('<sop>'), id('<eop>'), 20003])
  const text = `a${' '.repeat(80)}b${' '.repeat(81)}c\n\n\td`
  assert.deepEqual((await tokenizer.encode(text)).map((n) => tokenizer.tokenOf(n)).filter((piece) => piece.startsWith('<')), ['<|blank_80|>', '<|blank_80|>', '<n>', '<n>', '<|tab|>'])
  assert.equal(tokenizer.decode(await tokenizer.encode(text)), text)
})

test('ChatGLM-6B: the offset of the ids, by tokenizer_config.json, else by config.json, else that of the first release', (t) => {
  const folder = temporaryFolder(t)
  fs.copyFileSync(path.join(one, 'ice_text.model'), path.join(folder, 'ice_text.model'))
  const gmask = (): number => loadTokenizer(folder).added.after[0]
  const first = gmask(), piece = first - 20_000
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ model_type: 'chatglm', gmask_token_id: piece + 7 }))
  assert.equal(gmask(), piece + 7)
  fs.writeFileSync(path.join(folder, 'tokenizer_config.json'), JSON.stringify({ num_image_tokens: 0 }))
  assert.equal(gmask(), piece)
  assert.deepEqual([loadTokenizer(folder).padId, loadTokenizer(folder).tokenOf(3)], [3, '<pad>'])
  fs.copyFileSync(path.join(two, 'tokenizer.model'), path.join(folder, 'ice_text.model'))
  assert.throws(() => loadTokenizer(folder), { code: 'tokenizer.sentencepiece', message: /ice_text\.model: has no piece \[gMASK\], so it is not ChatGLM-6B's/ })
})

test('ChatGLM-6B: marks inside of rewritten white space', async () => {
  const tokenizer = loadTokenizer(one)
  const text = 'ab    cd\ne'
  const [free, split] = await tokenizer.encodeMarked([{ text, marks: [{ at: 4, split: false }, { at: 9, split: false }] }, { text, marks: [{ at: 4, split: true }] }])
  assert.deepEqual([...free.ids], await tokenizer.encode(text))
  assert.equal(tokenizer.tokenOf(free.ids[free.cuts[1] - 1]), '<n>')
  assert.deepEqual([...split.ids].map((id) => tokenizer.tokenOf(id)).filter((piece) => piece.startsWith('<|blank')), ['<|blank_2|>', '<|blank_2|>'])
  assert.equal(tokenizer.decode(split.ids), text)
})

test("ChatGLM2-6B: PaddleNLP's ids, [gMASK] sop in front; but sop and eop are no tokens inside of words", async () => {
  const tokenizer = loadTokenizer(two), pieces = tokenizer.idOf('[MASK]')!
  for (const { text, ids, special, decoded } of modelCases(path.join(two, 'cases.json'))) {
    if (/(?<!\])sop|eop/.test(text!)) {
      assert.ok(!(await tokenizer.encode(text!)).some((id) => id === pieces + 3 || id === pieces + 4), text)
      continue
    }
    await assertEncodes(tokenizer, text!, ids)
    assert.deepEqual(await tokenizer.encode(text!, { special: true }), special)
    assertDecodes(tokenizer, ids, decoded!, { skipSpecial: true })
  }
  assert.deepEqual(['[gMASK]', '[sMASK]', 'sop', 'eop'].map((token) => tokenizer.idOf(token)), [1, 2, 3, 4].map((n) => pieces + n))
  assert.deepEqual([tokenizer.eosId, tokenizer.padId, tokenizer.added], [2, 0, { before: [pieces + 1, pieces + 3], after: [] }])
  assert.deepEqual((await tokenizer.encode('[gMASK]sop<|user|>')), [pieces + 1, pieces + 3, pieces + 6])
})

test('ChatGLM2-6B is known by config.json where tokenizer_config.json says nothing', (t) => {
  const folder = temporaryFolder(t)
  fs.copyFileSync(path.join(two, 'tokenizer.model'), path.join(folder, 'tokenizer.model'))
  assert.equal(loadTokenizer(folder).added.before.length, 1)
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ model_type: 'chatglm', multi_query_attention: true }))
  assert.equal(loadTokenizer(folder).added.before.length, 2)
})
