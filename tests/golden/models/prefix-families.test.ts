import * as assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { memory, scope, tensor } from 'fettle-native'
import { attachPrefix, type PrefixAdapter } from 'fettle/dist/adapters/prefix'
import { packBatch, type Sequence } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import type { Parameters } from 'fettle/dist/models/parameters'
import { openWeights } from 'fettle/dist/models/weights'
import { defaultPrefix } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { generate } from 'fettle/dist/train/generate'
import { walk } from 'fettle/dist/train/walk'
import { goldenCase, gradientError, need } from '../../support/golden'
import { freeTrainer, memoryRows, tinyTrainer, trainerPlan } from '../../support/trainer'
import { greedyByWholePasses } from '../../support/whole-passes'

const models = ['llama-v2-gqa', 'llama-rope-dynamic', 'bloom-5-heads-untied', 'opt-125m-style', 'opt-350m-style', 'opt-wide-embedding', 'qwen-7b', 'chatglm-6b', 'chatglm2-3-groups', 'glm4-9b-style', 'glm4-0414',
  'mistral-window', 'qwen2-window', 'qwen3-windows', 'gemma', 'phi3-window']

/** Rows of different lengths that end as the model's own does, so that what a family needs of a row is in each. */
function rowsOf(name: string): Sequence[] {
  const ids = need(goldenCase(name).io, 'single.input_ids').toArray()
  return [0, 4, 2, 5].map((start) => {
    const inputIds = ids.slice(start, ids.length - (start % 3))
    return { inputIds, labels: inputIds.map((id, t) => (t < inputIds.length - 11 ? -100 : id)) }
  })
}

function withPrefix<T>(name: string, hidden: number | null, blocks: 'plain' | 'auto', use: (decoder: Decoder, parameters: Parameters, adapter: PrefixAdapter) => T): T {
  const parameters = loadParameters(openWeights(goldenCase(name).folder), { dtype: 'float32', device: 'cpu', train: false })
  const adapter = attachPrefix(parameters, { tokens: 3, hidden }, { seed: 7 })
  const decoder = new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype: 'float32', blocks }))
  try {
    return use(decoder, parameters, adapter)
  } finally {
    decoder.free()
    parameters.free()
  }
}

function packedIsAlone(name: string, blocks: 'plain' | 'auto'): void {
  const rows = rowsOf(name)
  const run = (batches: readonly (readonly Sequence[])[], recompute: boolean | 'attention', form = blocks): { loss: number; grads: { name: string; value: ReturnType<typeof tensor> }[] } => withPrefix(name, 20, form, (decoder, parameters) => {
    const loss = batches.reduce((sum, batch) => sum + walk(decoder, packBatch(batch, 'cpu', parameters.architecture.prompt), { scale: 0.01, training: true, recompute }).lossSum.item(), 0)
    return { loss, grads: parameters.trainable().map((p) => ({ name: p.name, value: tensor(p.grad!.toFloat32Array(), p.grad!.shape) })) }
  })
  const alone = run(rows.map((row) => [row]), false, 'plain')
  assert.equal(alone.grads.length, 5)
  for (const recompute of [false, true, 'attention'] as const) {
    const packed = run([rows], recompute)
    assert.ok(Math.abs(packed.loss / alone.loss - 1) <= 1e-6, `loss ${packed.loss}, alone ${alone.loss}`)
    const worst = gradientError(alone.grads.map(({ name: key, value }, i) => ({ name: key, seen: packed.grads[i].value, reference: value })))
    assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
  }
}

/** Greedy ids of rows that differ in length, against whole passes that read all tokens anew for each. */
function cacheChangesNothing(name: string): void {
  const prompt = need(goldenCase(name).io, 'generate.prompt_ids').toArray(), prompts = [prompt, prompt.slice(3)]
  withPrefix(name, null, 'plain', (decoder) => {
    const expected = prompts.map((start) => greedyByWholePasses(decoder, start, 20))
    const options = { maxNewTokens: 20, stopIds: [], temperature: 0 }
    assert.deepEqual(generate(decoder, prompts, options), expected)
    const untouched = generate(decoder, prompts, { ...options, adapter: false })
    decoder.parameters.adapter!.free()
    assert.deepEqual(generate(decoder, prompts, options), untouched)
  })
}

/** Trains on the same few rows: the loss falls, and what the trainer held is given back. */
function learns(name: string, changes: Partial<Plan>): void {
  const rows = rowsOf(name).map(({ inputIds, labels }) => ({ inputIds: Int32Array.from(inputIds), labels: Int32Array.from(labels!) }))
  const optimizer: Plan['optimizer'] = { learningRate: 3e-2, weightDecay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 }
  const run = (): number[] => {
    const trainer = tinyTrainer(trainerPlan({ method: 'prefix', optimizer, batch: { size: 2, evalSize: 2, accumulate: 2, tokens: null }, steps: 12, ...changes }), memoryRows(rows), { golden: name })
    const losses = Array.from({ length: 12 }, () => trainer.next().loss)
    freeTrainer(trainer)
    return losses
  }
  run()
  const before = memory().liveTensors, losses = run()
  assert.equal(memory().liveTensors, before)
  // Behind a window most tokens see little of a prefix.
  assert.ok(losses[11] < losses[0] - 0.005, `loss went from ${losses[0]} to ${losses[11]}`)
}

for (const name of models) {
  describe(`a prefix on ${name}`, () => {
    for (const blocks of ['plain', 'auto'] as const) test(`a packed batch is its rows one by one, with recompute too (${blocks} blocks)`, () => scope(() => packedIsAlone(name, blocks)))
    test('a cache changes nothing, and without the adapter the model is what it was', () => scope(() => cacheChangesNothing(name)))
    test('it learns its rows and leaves no tensor behind', () => learns(name, { prefix: { ...defaultPrefix, tokens: 5 } }))
    test('so does a projected one, in bf16 masters stay fp32', () => learns(name, { prefix: { ...defaultPrefix, tokens: 5, projection: true, projectionSize: 24 }, precision: 'bf16' }))
  })
}
