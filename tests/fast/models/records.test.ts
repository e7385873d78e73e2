import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { scope, tensor, type Tensor } from 'fettle-native'
import type { Architecture } from 'fettle/dist/models/architecture'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { Decoder } from 'fettle/dist/models/decoder'
import { families, familyOf } from 'fettle/dist/models/families'
import { storedWeights } from 'fettle/dist/models/layout'
import { loadParameters } from 'fettle/dist/models/load'
import { placementOf } from 'fettle/dist/models/positions'
import { publishedModels } from 'fettle/dist/models/published'
import { baseFactor } from 'fettle/dist/models/rope'
import { alibiSlopes } from 'fettle/dist/models/scores'
import { openWeights } from 'fettle/dist/models/weights'
import { generate } from 'fettle/dist/train/generate'
import { trace } from 'fettle/dist/train/trace'
import { changedModel } from '../../support/checkpoint'
import { goldenCase, largestDifference, need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { freeTrainer, memoryRows, tinyTrainer, trainerPlan } from '../../support/trainer'
import { temporaryFolder } from '../../support/tiny'

type Config = Record<string, unknown>
const config = (golden: string, change: Config = {}): Config => ({ ...(JSON.parse(fs.readFileSync(fixture('golden', golden, 'config.json'), 'utf8')) as Config), ...change })
const record = (golden: string, change: Config = {}): Architecture => { const c = config(golden, change); return familyOf(c).architecture(c) }
const close = (a: readonly number[], b: readonly number[]): void => a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) < 1e-12, `${i}: ${value}, ${b[i]}`))

describe('which family a config.json describes', () => {
  const seen: Record<string, string> = {
    'llama-v2-gqa': 'llama', bloom: 'bloom', 'opt-125m-style': 'opt', 'qwen-7b': 'qwen', 'chatglm-6b': 'chatglm', 'chatglm2-6b': 'chatglm2', mistral: 'mistral', qwen2: 'qwen2',
    qwen3: 'qwen3', 'glm4-9b-style': 'glm', 'glm4-0414': 'glm4', gemma: 'gemma', 'phi3-window': 'phi3',
  }
  for (const [golden, name] of Object.entries(seen)) {
    test(`${golden}: ${name}, and no other`, () => {
      assert.equal(familyOf(config(golden)).name, name)
      assert.equal(record(golden).family, name)
    })
  }
  test('every family is among them', () => assert.deepEqual(Object.values(seen).sort(), families.map((family) => family.name).sort()))
  test('a chatglm that is neither is refused, and all families are named', () => {
    assert.throws(() => familyOf({ model_type: 'chatglm' }), (error: Error & { code: string }) => error.code === 'model.family' && families.every(({ name }) => error.message.includes(name)) && error.message.includes('"chatglm"'))
  })
})

describe('what a config.json may leave out or say otherwise', () => {
  test('BLOOM: n_embed, num_hidden_layers and num_attention_heads of older files', () => {
    const { hidden_size, n_layer, n_head, ...rest } = config('bloom')
    const older = { ...rest, n_embed: hidden_size, num_hidden_layers: n_layer, num_attention_heads: n_head }
    assert.deepEqual(familyOf(older).architecture(older), record('bloom'))
  })
  test('Mistral: no window is said with null; unsaid it is 4096', () => {
    const { sliding_window: _, ...unsaid } = config('mistral')
    assert.equal(record('mistral').window, null)
    assert.deepEqual(familyOf(unsaid).architecture(unsaid).window, { size: 4096, layers: [true, true] })
  })
  test('Qwen2: the window of its config.json counts only when it is switched on, and in upper layers only', () => {
    assert.equal(record('qwen2', { sliding_window: 8 }).window, null)
    assert.deepEqual(record('qwen2', { use_sliding_window: true, sliding_window: 8, max_window_layers: 1, layer_types: null }).window, { size: 8, layers: [false, true] })
    assert.throws(() => record('qwen2', { use_sliding_window: true, sliding_window: 8, layer_types: ['full_attention', 'chunked'] }), { code: 'model.config', message: /layer_types.*chunked/ })
  })
  test('Qwen: dynamic NTK and logn can be off', () => {
    const off = record('qwen-7b', { use_dynamic_ntk: false, use_logn_attn: false })
    assert.deepEqual([off.positions.kind === 'rotary' && off.positions.scaling.kind, off.logn], ['none', null])
  })
  test('OPT: norms without weights are refused by name', () => {
    assert.throws(() => record('opt-125m-style', { layer_norm_elementwise_affine: false }), { code: 'model.config', message: /layer_norm_elementwise_affine/ })
  })
  test('ChatGLM2: a ratio that two models read differently is refused, GLM-4 multiplies the base', () => {
    assert.throws(() => record('chatglm2-6b', { padded_vocab_size: 65024, rope_ratio: 50 }), { code: 'model.rope', message: /rope_ratio.*50/ })
    const { positions } = record('chatglm2-6b', { padded_vocab_size: 151552, rope_ratio: 500 })
    assert.equal(positions.kind === 'rotary' && positions.theta, 5e6)
  })
  test('ChatGLM: needs the ids of its marks', () => {
    assert.throws(() => record('chatglm-6b', { gmask_token_id: null }), { code: 'model.config', message: /gmask_token_id/ })
  })
})

describe('formulas', () => {
  test('slopes of ALiBi for 8, 12 and 5 heads', () => {
    const half = [1, 2, 3, 4, 5, 6, 7, 8].map((i) => 2 ** -i)
    close(alibiSlopes(8), half)
    close(alibiSlopes(12), [...half, 2 ** -0.5, 2 ** -1.5, 2 ** -2.5, 2 ** -3.5])
    close(alibiSlopes(5), [2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1])
    close(alibiSlopes(1), [2 ** -8])
  })
  test('the rotary base grows at each doubling of the trained length', () => {
    assert.deepEqual([1, 8192, 8193, 16384, 16385, 32768, 32769].map((length) => baseFactor(8192, length)), [1, 1, 3, 3, 7, 7, 15])
  })
  test('positions of a prompt and its answer', () => {
    const rule = { start: 9, marks: [7, 8] }, ids = [1, 2, 7, 9, 3, 4], at = placementOf(rule, ids), all = [...ids.keys(), 6, 7]
    assert.deepEqual([at.prefix, all.map(at.position), all.map(at.block)], [3, [0, 1, 2, 2, 2, 2, 2, 2], [0, 0, 0, 1, 2, 3, 4, 5]])
    assert.deepEqual(placementOf(rule, [1, 8, 5, 9]).position(3), 1)
    assert.deepEqual(placementOf(rule, [8, 7, 9]).position(2), 1)
    assert.deepEqual([placementOf(null, ids).prefix, all.map(placementOf(null, ids).position)], [0, all])
    for (const wrong of [[1, 7, 2], [1, 9, 2]]) assert.throws(() => placementOf(rule, wrong), { name: 'ModelError', code: 'batch.prompt', message: wrong[1] === 7 ? /token 9/ : /token 7/ })
  })
})

describe('learned positions end', () => {
  const rows = (length: number): { inputIds: Int32Array; labels: Int32Array }[] => [{ inputIds: new Int32Array(length).fill(20), labels: new Int32Array(length).fill(20) }]
  test('a row beyond them is refused before the first step', () => {
    freeTrainer(tinyTrainer(trainerPlan({}), memoryRows(rows(128)), { golden: 'opt-125m-style' }))
    assert.throws(() => tinyTrainer(trainerPlan({}), memoryRows(rows(129)), { golden: 'opt-125m-style' }), { name: 'ModelError', code: 'batch.length', message: /128.*129/ })
  })
  test('an answer ends where they do', () => {
    const parameters = loadParameters(openWeights(fixture('golden', 'opt-no-biases')), { dtype: 'float32', device: 'cpu', train: false }), decoder = new Decoder(parameters, plainBlocks())
    const prompt = Array.from({ length: 55 }, (_, i) => 10 + i)
    assert.deepEqual(generate(decoder, [prompt, prompt.slice(0, 50)], { maxNewTokens: 8, stopIds: [] }).map((ids) => ids.length), [6, 8])
    assert.throws(() => generate(decoder, [[...prompt, ...prompt]], { maxNewTokens: 1 }), { code: 'batch.length' })
    decoder.free()
    parameters.free()
  })
})

describe('what trace reads of positions and masks', () => {
  const logits = (golden: string, inputs: Record<string, Tensor>): Tensor => need(trace({ model: goldenCase(golden).folder, inputs: new Map(Object.entries(inputs)) }), 'logits')

  test('ChatGLM: positions and mask made from the ids are those of the reference', () => scope(() => {
    const { io } = goldenCase('chatglm-6b'), ids = need(io, 'batch.input_ids')
    assert.ok(largestDifference(logits('chatglm-6b', { input_ids: ids }), need(io, 'batch.logits')) <= 1e-4)
    const given = { input_ids: ids, position_ids: need(io, 'batch.position_ids') }
    assert.ok(largestDifference(logits('chatglm-6b', given), need(io, 'batch.logits')) <= 1e-4)
    assert.throws(() => logits('chatglm-6b', { input_ids: ids, position_ids: ids }), { code: 'trace.input', message: /\[3, 2, 22\] for position_ids/ })
    assert.throws(() => logits('chatglm-6b', { input_ids: tensor([5n, 6n, 7n], [1, 3]) }), { code: 'batch.prompt' })
  }))

  for (const golden of ['bloom', 'opt-125m-style']) {
    test(`${golden}: a token hidden in the middle does not count as a position`, () => scope(() => {
      const without = tensor([11n, 12n, 13n, 14n], [1, 4]), ids = tensor([11n, 12n, 99n, 13n, 14n], [1, 5]), mask = tensor([1n, 1n, 0n, 1n, 1n], [1, 5])
      const a = logits(golden, { input_ids: without }).toFloat32Array(), b = logits(golden, { input_ids: ids, attention_mask: mask }).toFloat32Array(), vocab = a.length / 4
      for (const [left, right] of [[0, 0], [1, 1], [2, 3], [3, 4]])
        for (let v = 0; v < vocab; v++) assert.ok(Math.abs(a[left * vocab + v] - b[right * vocab + v]) <= 1e-4)
    }))
  }
})

test('a folder of ChatGLM with a rotary table in it is read', (t) => scope(() => {
  const folder = changedModel(temporaryFolder(t), 'chatglm2-6b', { weights: (w) => w.set('transformer.rotary_pos_emb.inv_freq', tensor([1, 0.5])) })
  const { io } = goldenCase('chatglm2-6b')
  assert.ok(fs.existsSync(path.join(folder, 'model.safetensors')))
  const result = trace({ model: folder, inputs: new Map([['input_ids', need(io, 'single.input_ids')]]) })
  assert.ok(largestDifference(need(result, 'logits'), need(io, 'single.logits')) <= 1e-4)
}))

/** How many values published models have. */
const sizes: Record<string, number> = {
  'huggyllama/llama-7b': 6738415616, 'meta-llama/Llama-2-7b-chat-hf': 6738415616, 'meta-llama/Llama-3.2-1B': 1235814400, 'HuggingFaceTB/SmolLM2-135M-Instruct': 134515008,
  'bigscience/bloomz-560m': 559214592, 'bigscience/bloomz-7b1-mt': 7069016064, 'facebook/opt-125m': 125239296, 'facebook/opt-350m': 331196416, 'facebook/opt-6.7b': 6658473984,
  'Qwen/Qwen-7B': 7721324544, 'THUDM/chatglm-6b': 6173286400, 'THUDM/chatglm2-6b': 6243584000, 'THUDM/chatglm3-6b': 6243584000, 'mistralai/Mistral-7B-v0.1': 7241732096,
  'Qwen/Qwen2-7B': 7615616512, 'Qwen/Qwen3-0.6B': 596049920, 'THUDM/glm-4-9b-chat-hf': 9399951360, 'THUDM/GLM-4-9B-0414': 9400279040, 'google/gemma-7b': 8537680896, 'microsoft/Phi-3-mini-4k-instruct': 3821079552,
}

test('published models are listed once each, and every family has one', () => {
  assert.deepEqual(publishedModels.map(({ repository }) => repository).sort(), Object.keys(sizes).sort())
  for (const { name } of families) assert.ok(publishedModels.some(({ family }) => family === name), name)
})

for (const { repository, family: name, config: c } of publishedModels) {
  test(`${repository} has as many values as its record says`, () => {
    const family = familyOf(c), a = family.architecture(c)
    assert.equal(family.name, name)
    assert.equal(storedWeights(a, family.names(a)).reduce((sum, { shape }) => sum + shape.reduce((x, y) => x * y, 1), 0), sizes[repository])
  })
}
