import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { memory, ops, scope, tensor, type Tensor } from 'fettle-native'
import { familyOf } from 'fettle/dist/models/families'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { trace } from 'fettle/dist/train/trace'
import { changedModel } from '../../support/checkpoint'
import { goldenCase, largestDifference, need } from '../../support/golden'
import { temporaryFolder } from '../../support/tiny'

const load = (folder: string): void => loadParameters(openWeights(folder), { dtype: 'float32', device: 'cpu', train: false }).free()
const logits = (folder: string, name: string): Tensor => need(trace({ model: folder, inputs: new Map([['input_ids', need(goldenCase(name).io, 'single.input_ids')]]) }), 'logits')
const same = (folder: string, name: string): void => assert.ok(largestDifference(logits(folder, name), need(goldenCase(name).io, 'single.logits')) <= 1e-4)
const renamed = (weights: Map<string, Tensor>, rename: (name: string) => string): Map<string, Tensor> => new Map([...weights].map(([name, value]) => [rename(name), value]))

describe('forms of config.json', () => {
  test('rope_theta beside rope_scaling with `type`', (t) => scope(() => same(changedModel(temporaryFolder(t), 'llama3-rope-scaled', {
    config: (c) => {
      const { rope_type: type, rope_theta, ...rest } = c['rope_parameters'] as Record<string, unknown>
      delete c['rope_parameters']
      Object.assign(c, { rope_theta, rope_scaling: { type, ...rest } })
    },
  }), 'llama3-rope-scaled')))

  test('rope_theta alone; head_dim, key/value heads and biases left out', (t) => scope(() => same(changedModel(temporaryFolder(t), 'llama-v1-mha', {
    config: (c) => {
      for (const field of ['rope_parameters', 'head_dim', 'num_key_value_heads', 'attention_bias', 'mlp_bias', 'hidden_act', 'tie_word_embeddings']) delete c[field]
      c['rope_theta'] = 10000
    },
  }), 'llama-v1-mha')))

  test('linear scaling with rope_scaling: null kept apart', (t) => scope(() => same(changedModel(temporaryFolder(t), 'llama-rope-linear', { config: (c) => { c['rope_scaling'] = null } }), 'llama-rope-linear')))

  test('a scaling that is not known is refused by name', (t) => scope(() => {
    const folder = changedModel(temporaryFolder(t), 'llama-v1-mha', { config: (c) => { c['rope_parameters'] = { rope_type: 'yarn', factor: 4 } } })
    assert.throws(() => load(folder), { name: 'ModelError', code: 'model.rope', message: /"yarn"/ })
  }))

  test('another family is refused, and what is supported is named', () => {
    assert.throws(() => familyOf({ model_type: 'mamba' }), { name: 'ModelError', code: 'model.family', message: /llama.*"mamba"/ })
  })

  test('a value that cannot be is refused with field and value', (t) => scope(() => {
    const folder = changedModel(temporaryFolder(t), 'llama-v1-mha', { config: (c) => { c['num_hidden_layers'] = 'two' } })
    assert.throws(() => load(folder), { name: 'ModelError', code: 'model.config', message: /num_hidden_layers.*"two"/ })
  }))
})

test('ends of an answer come from config.json and generation_config.json together', (t) => scope(() => {
  const folder = changedModel(temporaryFolder(t), 'llama-v1-mha', { config: (c) => { c['eos_token_id'] = 2 } })
  const ends = (): readonly number[] => {
    const parameters = loadParameters(openWeights(folder), { dtype: 'float32', device: 'cpu', train: false })
    parameters.free()
    return parameters.architecture.eosIds
  }
  const generation = (eos: unknown): void => fs.writeFileSync(path.join(folder, 'generation_config.json'), JSON.stringify({ eos_token_id: eos }))
  assert.deepEqual(ends(), [2])
  generation([7, 2])
  assert.deepEqual(ends(), [2, 7])
  generation('</s>')
  assert.throws(ends, { name: 'ModelError', code: 'model.config', message: /eos_token_id.*generation_config\.json/ })
}))

describe('forms of checkpoints', () => {
  test('without the prefix `model.`, with rotary frequencies', (t) => scope(() => {
    const folder = changedModel(temporaryFolder(t), 'llama-v1-mha', {
      weights: (w) => renamed(w, (name) => name.replace(/^model\./, '')).set('layers.0.self_attn.rotary_emb.inv_freq', tensor([1, 0.5])),
    })
    same(folder, 'llama-v1-mha')
    const { io } = goldenCase('llama-v1-mha')
    const inputs = new Map(['input_ids', 'labels'].map((key) => [key, need(io, `batch.${key}`)]))
    assert.ok(trace({ model: folder, inputs, grads: ['layers.1.mlp.up_proj.weight'] }).has('grad.layers.1.mlp.up_proj.weight'))
  }))

  test('a tied model that holds its head anyway', (t) => scope(() => same(changedModel(temporaryFolder(t), 'llama-tied-smollm', {
    weights: (w) => w.set('lm_head.weight', need(w, 'model.embed_tokens.weight')),
  }), 'llama-tied-smollm')))

  test('bf16 weights computed in fp32', (t) => scope(() => {
    const folder = changedModel(temporaryFolder(t), 'llama-v1-mha', { weights: (w) => new Map([...w].map(([name, value]) => [name, ops.to_dtype(value, 'bfloat16')])) })
    assert.ok(largestDifference(logits(folder, 'llama-v1-mha'), need(goldenCase('llama-v1-mha').io, 'single.logits')) < 0.1)
  }))

  test('missing weights are counted and named', (t) => scope(() => {
    const folder = changedModel(temporaryFolder(t), 'llama-v1-mha', { weights: (w) => { w.delete('model.layers.1.mlp.up_proj.weight'); return w } })
    assert.throws(() => load(folder), { name: 'ModelError', code: 'model.missing', message: /1 of 21 weights, first model\.layers\.1\.mlp\.up_proj\.weight/ })
  }))

  test('a wrong shape is named with file and both shapes', (t) => scope(() => {
    const folder = changedModel(temporaryFolder(t), 'llama-v1-mha', { weights: (w) => w.set('model.norm.weight', ops.zeros([63])) })
    assert.throws(() => load(folder), (error: Error & { code: string }) => error.code === 'model.shape' && ['model.norm.weight', '[63]', '[64]', folder].every((part) => error.message.includes(part)))
  }))

  test('a bias that config.json does not know is refused, not dropped', (t) => scope(() => {
    const folder = changedModel(temporaryFolder(t), 'llama-v1-mha', { weights: (w) => w.set('model.layers.0.self_attn.q_proj.bias', ops.zeros([64])) })
    assert.throws(() => load(folder), { code: 'model.unexpected', message: /q_proj\.bias/ })
  }))
})

test('freed parameters leave no tensor behind', () => {
  const folder = goldenCase('llama-tied-smollm').folder
  for (const train of [false, true]) {
    load(folder)
    const before = memory().liveTensors
    loadParameters(openWeights(folder), { dtype: 'bfloat16', device: 'cpu', train }).free()
    assert.equal(memory().liveTensors, before)
  }
})
