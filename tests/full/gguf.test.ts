import * as assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { scope } from 'fettle-native'
import { writeModelFolder } from 'fettle/dist/export/folder'
import { openWeights, resolveModel, type ModelProgress } from 'fettle/dist/models/weights'
import { loadTokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../support/paths'
import { temporaryFolder } from '../support/tiny'

const reference = JSON.parse(readFileSync(fixture('gguf', 'smollm2.json'), 'utf8')) as { tensors: number; weights: number; fp32: string; bf16: string }

test('the built-in model: fetched when needed, all weights as transformers reads them', { timeout: 300_000 }, async t => {
  const seen: ModelProgress[] = []
  const path = await resolveModel('builtin:smollm2-135m', { onProgress: p => seen.push(p) })
  if (seen.length) t.diagnostic(`fetched: ${seen[seen.length - 1].message}`)
  assert.equal(await resolveModel('builtin:smollm2-135m'), path)
  const weights = openWeights(path)
  assert.equal(weights.names().length, reference.tensors)
  for (const [dtype, expected] of [['float32', reference.fp32], ['bfloat16', reference.bf16]] as const) {
    const started = performance.now()
    let spent = 0
    let count = 0
    const digest = createHash('sha256')
    for (const name of weights.names().sort()) {
      const begun = performance.now()
      const tensor = weights.read(name, { dtype })
      spent += performance.now() - begun
      count += tensor.numel
      digest.update(name).update(tensor.toBytes())
      tensor.free()
    }
    assert.equal(digest.digest('hex'), expected, dtype)
    assert.equal(count, reference.weights)
    t.diagnostic(`${dtype}: ${count} weights dequantised in ${(spent / 1000).toFixed(2)} s (${((performance.now() - started) / 1000).toFixed(2)} s with digests)`)
  }
})

test('the built-in model as a Hugging Face folder: the same weights, ids and chats', { timeout: 120_000 }, async t => {
  const folder = temporaryFolder(t)
  const path = await resolveModel('builtin:smollm2-135m')
  const weights = openWeights(path)
  scope(() => writeModelFolder(folder, {
    config: weights.config, tokenizerSource: weights.tokenizer(), tensors: new Map(weights.names().map(name => [name, weights.read(name, { dtype: 'bfloat16' })])),
  }))
  const back = openWeights(folder)
  const digest = createHash('sha256')
  for (const name of back.names().sort()) scope(() => digest.update(name).update(back.read(name).toBytes()))
  assert.equal(digest.digest('hex'), reference.bf16)
  const [before, after] = [loadTokenizer(path), loadTokenizer(folder)]
  for (const text of ['Hello  world 123', 'naïve 🙂\n\n\tx', '<|im_start|>user\nhi<|im_end|>', '']) assert.deepEqual(await after.encode(text), await before.encode(text), text)
  assert.deepEqual([after.bosId, after.eosId, after.padId, after.vocabSize], [before.bosId, before.eosId, before.padId, before.vocabSize])
  const chat = [{ role: 'user', content: 'hi' }]
  assert.equal(after.renderChat(chat), before.renderChat(chat))
})
