import * as assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { readPairs, score, type TextPair } from 'fettle'
import { fixture, repoRoot } from '../../support/paths'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

interface Set { readonly pairs: readonly (readonly [string, string])[]; readonly scores: Readonly<Record<string, Readonly<Record<string, number>>>> }

const pairsOf = (pairs: Set['pairs']): TextPair[] => pairs.map(([output, target]) => ({ output, target }))
const near = (seen: number, expected: number, name: string): void => assert.ok(Math.abs(seen - expected) <= 1e-9 * Math.max(1, Math.abs(expected)), `${name}: ${seen}, expected ${expected}`)

for (const file of ['metrics.json', 'metrics-odd.json']) {
  const sets = JSON.parse(fs.readFileSync(fixture('metrics', file), 'utf8')) as Record<string, Set>
  for (const [name, { pairs, scores }] of Object.entries(sets)) {
    test(`${file}, ${name}: scores of PaddleNLP, sacrebleu and rouge-score`, () => {
      const seen = score(pairsOf(pairs), { words: true }), of = (library: string) => scores[Object.keys(scores).find((key) => key.startsWith(library))!]
      for (const [metric, value] of Object.entries(of('paddlenlp'))) near(seen[metric as 'bleu4'], value, metric)
      for (const [tokenizer, value] of Object.entries(of('sacrebleu'))) near(seen.sacrebleu![tokenizer as '13a'], value, tokenizer)
      for (const [metric, value] of Object.entries(of('rouge-score'))) near(seen.rouge_score![metric as 'rougeL'], value, metric)
    })
  }
}

describe('corners', () => {
  const one = (output: string, target: string) => score([{ output, target }])
  test('equal texts score 1; texts with nothing in common next to nothing', () => {
    assert.deepEqual(one('abcd', 'abcd'), { bleu4: 1, rouge1: 1, rouge2: 1, rougel: 1 })
    const { bleu4, ...rouge } = one('abcd', 'wxyz')
    assert.ok(bleu4 < 1e-300)
    assert.deepEqual(rouge, { rouge1: 0, rouge2: 0, rougel: 0 })
  })
  test('nothing generated scores 0', () => assert.deepEqual(one('', 'abc'), { bleu4: 0, rouge1: 0, rouge2: 0, rougel: 0 }))
  test('an emoji is one character', () => assert.equal(one('😀a', '😀b').rouge1, 0.5))
  test('texts of 10,000 characters are scored in memory of one row', () => {
    const text = Array.from({ length: 10_000 }, (_, i) => String.fromCharCode(97 + ((i * i) % 23))).join('')
    assert.ok(one(text, text.slice(500)).rougel > 0.95)
  })
  test('no pair is refused', () => refusal(() => score([]), 'score.empty'))
})

describe('fettle score', () => {
  const run = (...args: string[]) => spawnSync(process.execPath, [path.join(repoRoot, 'sdk', 'bin', 'fettle.js'), 'score', ...args], { encoding: 'utf8' })

  test('prints JSON, with words on wish', (t) => {
    const file = path.join(temporaryFolder(t), 'generated_output.json')
    fs.writeFileSync(file, '{"output": "the cat", "tgt": "the cat sat"}\n\n{"output": "", "tgt": "x"}\n')
    const seen = JSON.parse(run(file).stdout) as object
    assert.deepEqual(Object.keys(seen), ['bleu4', 'rouge1', 'rouge2', 'rougel'])
    assert.deepEqual(seen, score(readPairs(file)))
    assert.deepEqual(Object.keys(JSON.parse(run(file, '--words').stdout) as object), ['bleu4', 'rouge1', 'rouge2', 'rougel', 'sacrebleu', 'rouge_score'])
  })

  test('says which line is wrong', (t) => {
    const file = path.join(temporaryFolder(t), 'out.json')
    for (const [text, code, words] of [['{"output": "a", "tgt": "b"}\n{', 'data.json', ':2'], ['{"output": "a"}', 'data.field', '"tgt"'], ['{"output": 1, "tgt": "b"}', 'data.field', '"output"'], ['\n', 'score.empty', 'no lines']] as const) {
      fs.writeFileSync(file, text)
      refusal(() => readPairs(file), code, words, 'out.json')
    }
    refusal(() => readPairs(`${file}.none`), 'score.file', 'out.json.none')
    assert.notEqual(run(`${file}.none`).status, 0)
  })
})
