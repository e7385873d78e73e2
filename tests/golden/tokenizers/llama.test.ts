import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { loadTokenizer } from 'fettle/dist/tokenizers'
import { assertDecodes, assertEncodes, modelCases } from '../../fast/tokenizers/support'
import { fixture, repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'
import { llamaModel, llamaTokenizerJs } from './llama-vocabulary'

test("LLaMA's real vocabulary: ids of sentencepiece and of llama-tokenizer-js, at more than 1 MB a second of one core", async (t) => {
  const reference = await llamaTokenizerJs(), folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'tokenizer.model'), llamaModel(reference.vocabById))
  const tokenizer = loadTokenizer(folder)
  assert.deepEqual([tokenizer.vocabSize, tokenizer.bosId, tokenizer.eosId, tokenizer.padId, [...tokenizer.added.before]], [32_000, 1, 2, 2, [1]])
  for (const { text, ids, decoded } of modelCases(fixture('tokenizers', 'llama.json'))) {
    await assertEncodes(tokenizer, text!, ids)
    assertDecodes(tokenizer, ids, decoded!)
  }
  const texts = ['README.md', 'docs/concepts.md', 'sdk/tokenizers/sentencepiece/bpe.ts'].map((file) => fs.readFileSync(path.join(repoRoot, file), 'utf8'))
  for (const text of texts.flatMap((whole) => [whole, ...whole.split('\n')])) {
    assert.deepEqual(await tokenizer.encode(text, { special: true }), text === '' ? [1] : reference.encode(text), text)
  }

  const rows = Array.from({ length: 1000 }, (_, i) => `${texts[i % 3].slice(i, i + 1500)} ${i * 7919}`)
  const megabytes = rows.reduce((sum, row) => sum + Buffer.byteLength(row), 0) / 1e6
  const started = process.cpuUsage()
  await tokenizer.encodeBatch(rows)
  const { user, system } = process.cpuUsage(started), rate = megabytes / ((user + system) / 1e6)
  t.diagnostic(`${rate.toFixed(1)} MB a second of one core`)
  assert.ok(rate >= 1, `${rate.toFixed(2)} MB/s a core, expected at least 1`)
})
