import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { scope, type Tensor } from 'fettle-native'
import { loadPrefix, savePrefix } from 'fettle/dist/adapters/prefix-files'
import { readPrefixConfig } from 'fettle/dist/adapters/kind'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights, readSafetensors } from 'fettle/dist/models/weights'
import { generate } from 'fettle/dist/train/generate'
import { trace } from 'fettle/dist/train/trace'
import { baseOf, goldenCase, gradientError, largestDifference, need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const cases = ['prefix-llama', 'prefix-opt', 'prefix-bloom', 'prefix-llama-encoder', 'prefix-mistral', 'prefix-mistral-window', 'prefix-qwen2-window', 'prefix-qwen2', 'prefix-qwen3',
  'prefix-bloom-5-heads', 'prefix-opt-norm-after', 'prefix-llama-dynamic', 'prefix-glm4']

function inputsOf(io: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  return new Map(['input_ids', 'attention_mask', 'labels'].map((key) => [key, need(io, key)]))
}

const blocksOf = (blocks: 'plain' | 'auto') => () => chooseBlocks({ device: 'cpu', dtype: 'float32', blocks })

function close(result: ReadonlyMap<string, Tensor>, io: ReadonlyMap<string, Tensor>): void {
  const logits = largestDifference(need(result, 'logits'), need(io, 'logits')), loss = largestDifference(need(result, 'loss'), need(io, 'loss'))
  assert.ok(logits <= 1e-4, `logits are off by ${logits}`)
  assert.ok(loss <= 1e-5, `loss is off by ${loss}`)
}

for (const name of cases) {
  describe(`${name} is what PEFT computes`, () => {
    for (const blocks of ['plain', 'auto'] as const) test(`logits, loss, gradients, weights after three steps (${blocks} blocks)`, () => scope(() => {
      const { folder, io } = goldenCase(name)
      const { case: made } = JSON.parse(fs.readFileSync(path.join(folder, 'reference.json'), 'utf8')) as { case: { lr?: number; wd?: number } }
      const named = (kind: string): string[] => [...io.keys()].filter((key) => key.startsWith(`${kind}.`))
      const grads = named('grad').map((key) => key.slice('grad.'.length))
      const result = trace({ model: baseOf(name), adapter: folder, inputs: inputsOf(io), grads, steps: 3, learningRate: made.lr ?? 1e-3, weightDecay: made.wd ?? 0.01, blocks: blocksOf(blocks) })
      close(result, io)
      assert.ok(largestDifference(need(result, 'losses'), need(io, 'losses')) <= 1e-5)
      const worst = gradientError(named('grad').map((key) => ({ name: key, seen: need(result, key), reference: need(io, key) })))
      assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
      const saved = (key: string): string => (grads.length === 1 ? 'after.prompt_embeddings' : key.replace('.default', ''))
      assert.equal([...result.keys()].filter((key) => key.startsWith('after.')).length, named('after').length)
      for (const key of named('after')) assert.ok(largestDifference(need(result, saved(key)), need(io, key)) <= 1e-4, key)
    }))

    test('bf16 is within its rounding', () => scope(() => {
      const { folder, io } = goldenCase(name), result = trace({ model: baseOf(name), adapter: folder, inputs: inputsOf(io), grads: 'all', dtype: 'bf16' })
      assert.ok(Math.abs(need(result, 'loss').item() / need(io, 'loss').item() - 1) <= 0.01)
      assert.ok([...result.keys()].filter((key) => key.startsWith('grad.')).every((key) => need(result, key).dtype === 'float32'))
    }))

    test('greedy continuation, alone and beside other prompts', () => scope(() => {
      const { folder, io } = goldenCase(name)
      if (!io.has('generate.new_ids')) return
      const prompt = need(io, 'generate.prompt_ids').toArray(), expected = need(io, 'generate.new_ids').toArray()
      const parameters = loadParameters(openWeights(baseOf(name)), { dtype: 'float32', device: 'cpu', train: false })
      loadPrefix(parameters, folder)
      for (const blocks of ['plain', 'auto'] as const) {
        const decoder = new Decoder(parameters, blocksOf(blocks)()), options = { maxNewTokens: 16, minNewTokens: 16, temperature: 0 }
        assert.deepEqual(generate(decoder, [prompt], options), [expected])
        assert.deepEqual(generate(decoder, [prompt.slice(3), prompt, prompt.slice(1)], options)[1], expected)
        decoder.free()
      }
      parameters.free()
    }))

    test('saved again it is the same prefix', (t) => scope(() => {
      const folder = temporaryFolder(t), original = fixture('golden', name)
      const parameters = loadParameters(openWeights(baseOf(name)), { dtype: 'float32', device: 'cpu', train: false })
      savePrefix(loadPrefix(parameters, original), parameters, folder, 'base')
      for (const file of fs.readdirSync(folder).filter((each) => each.endsWith('.safetensors'))) {
        const before = readSafetensors(path.join(original, file)), after = readSafetensors(path.join(folder, file))
        assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort())
        for (const [key, value] of before) assert.ok(largestDifference(value, need(after, key)) <= 1e-6, key)
      }
      assert.deepEqual({ ...readPrefixConfig(folder), baseModel: null }, { ...readPrefixConfig(original), baseModel: null })
      parameters.free()
    }))
  })
}

test('a projected prefix of PEFT, which saves only its keys and values, gives the logits and the loss', () => scope(() => {
  const name = 'prefix-llama-projection', { folder, io } = goldenCase(name)
  for (const blocks of ['plain', 'auto'] as const) close(trace({ model: baseOf(name), adapter: folder, inputs: inputsOf(io), blocks: blocksOf(blocks) }), io)
}))
