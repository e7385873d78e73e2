import * as assert from 'node:assert/strict'
import { test } from 'node:test'
import { resolveModel } from 'fettle/dist/models/weights'
import { loadTokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../../support/paths'
import { goldenCases } from '../../fast/tokenizers/support'

test("the built-in model's own vocabulary, read from its GGUF file, gives the reference ids", { timeout: 300_000 }, async t => {
  const tokenizer = loadTokenizer(await resolveModel('builtin:smollm2-135m'))
  assert.deepEqual([tokenizer.vocabSize, tokenizer.bosId, tokenizer.eosId, tokenizer.padId, tokenizer.added.before.length], [49152, 1, 2, 2, 0])
  for (const { text, ids, decoded } of goldenCases('smollm2')) {
    assert.deepEqual(await tokenizer.encode(text), ids, JSON.stringify(text))
    assert.equal(tokenizer.decode(ids), decoded ?? text)
  }
  // The fixture is this vocabulary, cut down.
  assert.equal(tokenizer.chatTemplate, loadTokenizer(fixture('tokenizers', 'smollm2')).chatTemplate)

  const texts = Array.from({ length: 4000 }, (_, i) => `Row ${i}: the quick brown fox jumps over the lazy dog, ${'and again '.repeat(i % 40)}caf\u00e9 ${i * 7919}.`)
  const megabytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6
  const cpu = process.cpuUsage()
  await tokenizer.encodeBatch(texts)
  const { user, system } = process.cpuUsage(cpu)
  const rate = megabytes / ((user + system) / 1e6)
  t.diagnostic(`${rate.toFixed(1)} MB a second of one core`)
  assert.ok(rate >= 1, `${rate.toFixed(2)} MB/s a core, expected at least 1`)
})
