import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { scope, type Tensor } from 'fettle-native'
import { loadLora, readLoraConfig, saveLora } from 'fettle/dist/adapters/peft'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights, readSafetensors } from 'fettle/dist/models/weights'
import { trace } from 'fettle/dist/train/trace'
import { baseOf, goldenCase, gradientError, largestDifference, need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const cases = ['lora-llama', 'lora-llama-tied', 'rslora-llama', 'dora-llama', 'lora-patterns', 'lora-one-layer', 'dora-biases', 'lora-bloom', 'lora-opt', 'lora-fused-gate', 'dora-fused-heads', 'lora-norms-of-heads']

/** PEFT's live models put the adapter's name, `default`, into parameter names; files leave it out. */
const fileName = (name: string): string => name.replace('.default.weight', name.includes('magnitude') ? '' : '.weight')

function inputsOf(io: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  return new Map(['input_ids', 'attention_mask', 'labels'].map((key) => [key, need(io, key)]))
}

for (const name of cases) {
  describe(`${name} is what PEFT computes`, () => {
    for (const blocks of ['plain', 'auto'] as const) test(`logits, loss, gradients, weights after three steps (${blocks} blocks)`, () => scope(() => {
      const { folder, io } = goldenCase(name)
      const { case: made } = JSON.parse(fs.readFileSync(path.join(folder, 'reference.json'), 'utf8')) as { case: { lr?: number; wd?: number } }
      const result = trace({ model: baseOf(name), adapter: folder, inputs: inputsOf(io), grads: 'all', steps: 3, learningRate: made.lr ?? 1e-3, weightDecay: made.wd ?? 0.01, blocks: () => chooseBlocks({ device: 'cpu', dtype: 'float32', blocks }) })
      assert.ok(largestDifference(need(result, 'logits'), need(io, 'logits')) <= 1e-4)
      assert.ok(largestDifference(need(result, 'loss'), need(io, 'loss')) <= 1e-5)
      assert.ok(largestDifference(need(result, 'losses'), need(io, 'losses')) <= 1e-5)
      const named = (kind: string): string[] => [...io.keys()].filter((key) => key.startsWith(`${kind}.`))
      const worst = gradientError(named('grad').map((key) => ({ name: key, seen: need(result, fileName(key)), reference: need(io, key) })))
      assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
      assert.equal([...result.keys()].filter((key) => key.startsWith('after.')).length, named('after').length)
      for (const key of named('after')) assert.ok(largestDifference(need(result, fileName(key)), need(io, key)) <= 1e-4, key)
    }))

    test('merged logits', () => scope(() => {
      const { folder, io } = goldenCase(name)
      const result = trace({ model: baseOf(name), adapter: folder, merge: true, inputs: inputsOf(io) })
      assert.ok(largestDifference(need(result, 'logits'), need(io, 'merged.logits')) <= 1e-4)
    }))

    test('saved again it is the same adapter', (t) => scope(() => {
      const folder = temporaryFolder(t), original = fixture('golden', name)
      const parameters = loadParameters(openWeights(baseOf(name)), { dtype: 'float32', device: 'cpu', train: false })
      saveLora(loadLora(parameters, original), folder, 'base')
      const before = readSafetensors(path.join(original, 'adapter_model.safetensors')), after = readSafetensors(path.join(folder, 'adapter_model.safetensors'))
      assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort())
      for (const [key, value] of before) assert.equal(largestDifference(value, need(after, key)), 0)
      assert.deepEqual({ ...readLoraConfig(folder).config, targets: 0 }, { ...readLoraConfig(original).config, targets: 0 })
      parameters.free()
    }))
  })
}
