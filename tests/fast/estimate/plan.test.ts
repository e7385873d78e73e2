import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { plan, PlanError, sft, type MemoryParts, type TimeParts } from 'fettle'
import { catalogue } from 'fettle/dist/estimate/catalogue'
import { stateOf } from 'fettle/dist/estimate/state'
import { familyOf } from 'fettle/dist/models/families'
import { defaultLora } from 'fettle/dist/plan/defaults'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

const sums = (parts: MemoryParts | TimeParts): void => {
  const { total, ...rest } = parts
  assert.ok(Object.values(rest).every((part) => part >= 0))
  assert.ok(Math.abs(Object.values(rest).reduce((a: number, b) => a + (b as number), 0) - total) <= 1e-9 * total)
}

test('this machine: parts sum up, each way keeps the step, the first is taken, and a second look measures nothing', async (t) => {
  const folder = temporaryFolder(t), home = process.env.FETTLE_HOME
  const builder = sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data'), 24), { maxLength: 64 }).batch(4).accumulate(2).epochs(1).device('cpu')
  const stages: string[] = [], forecast = await plan(builder, { seconds: 2, onProgress: ({ stage }) => stages.push(stage) })
  assert.equal(process.env.FETTLE_HOME, home)
  assert.ok(stages.includes('measuring steps'))
  forecast.memory.forEach(sums)
  sums(forecast.time)
  assert.ok(forecast.fits && forecast.measured && forecast.steps === 3 && forecast.candidates.length >= 3)
  assert.ok(Math.abs(forecast.tokensPerSecond - forecast.tokens / forecast.time.total) < 1e-6)
  const fitted = forecast.fit()
  assert.ok(fitted.plan.batch.size * fitted.plan.batch.accumulate === 8)
  const { batch, recompute, mesh, ...others } = fitted.plan, { batch: _batch, recompute: _recompute, mesh: _mesh, ...own } = builder.plan
  assert.deepEqual([others, recompute, mesh, batch], [own, forecast.candidates[0].recompute, forecast.candidates[0].mesh, forecast.candidates[0].batch])
  assert.match(String(forecast), /fits as it stands[\s\S]*chosen:/)
  const again: string[] = []
  assert.deepEqual((await plan(builder, { seconds: 2, onProgress: ({ stage }) => again.push(stage) })).memory, forecast.memory)
  assert.ok(!again.includes('measuring steps'))
})

test('what a user set stays: recompute, token budget', async (t) => {
  const folder = temporaryFolder(t)
  const builder = sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data'), 24), { maxLength: 64 }).recompute('full').tokenBudget(64).device('cpu')
  const { candidates } = await builder.forecast({ seconds: 2 })
  assert.deepEqual([...new Set(candidates.map(({ recompute, batch }) => `${recompute} ${batch.tokens}`))], ['full 64'])
})

test('what cannot fit is refused with the largest part, before anything is spent', async (t) => {
  const folder = temporaryFolder(t), output = path.join(folder, 'out')
  const builder = sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data'), 24), { maxLength: 64 }).device('cpu').output(output)
  await assert.rejects(plan(builder, { seconds: 2, memory: 50e6 }), (error: PlanError) => error instanceof PlanError && error.code === 'plan.memory' && error.details.part === 'process' && /MiB|GiB/.test(error.message))
  await assert.rejects(plan(builder, { device: 'h100-80' }), { code: 'plan.unknown' })
  await assert.rejects(plan(builder, { ranks: 0 }), { code: 'plan.value' })
  assert.ok(!fs.existsSync(output))
})

test('a device of the catalogue is computed, and says so; meshes of more ranks take less each', async (t) => {
  const folder = temporaryFolder(t)
  const builder = sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data'), 24), { maxLength: 64 }).batch(4).bf16()
  const one = await plan(builder, { device: 'a100-40gb' }), many = await plan(builder, { device: 'a100-40gb', ranks: 2 })
  assert.ok(!one.measured && /Not measured/.test(one.notes[0]))
  one.memory.forEach(sums)
  assert.ok(many.candidates.some(({ mesh }) => mesh.tp === 2) && many.candidates.some(({ mesh }) => mesh.sharding.degree === 2) && many.candidates.some(({ mesh }) => mesh.pp === 2))
  for (const { mesh, batch } of many.candidates) assert.equal(batch.size * batch.accumulate * mesh.dp * mesh.sharding.degree, 4)
  assert.ok(Object.values(catalogue).every(({ bf16, fp32, memory, bandwidth }) => bf16 > fp32 && memory > 1e10 && bandwidth > 1e11))
})

test('weights, gradients and moments by arithmetic: LLaMA 7B', () => {
  const config = { model_type: 'llama', vocab_size: 32000, hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 32, intermediate_size: 11008, max_position_embeddings: 4096, rms_norm_eps: 1e-5 }
  const family = familyOf(config as never), architecture = family.architecture(config as never), names = family.names(architecture), values = 6_738_415_616
  const base = { ...sft('m').plan, precision: 'bf16' as const }
  assert.deepEqual(stateOf(base, architecture, names, values), { weights: 6 * values, gradients: 4 * values, optimizer: 8 * values, total: 18 * values })
  const lora = { ...base, method: 'lora' as const, lora: defaultLora }
  assert.equal(stateOf(lora, architecture, names, 20e6).total, 2 * values + 18 * 20e6)
  const nf4 = stateOf({ ...lora, quantize: { algorithm: 'nf4', blockSize: 64, doubleQuant: false, doubleQuantBlockSize: 256 } }, architecture, names, 20e6)
  assert.ok(nf4.weights < 0.45 * 2 * values && nf4.weights > 0.25 * 2 * values)
  const divided = stateOf({ ...base, mesh: { ...base.mesh, sharding: { degree: 4, stage: 1 } } }, architecture, names, values)
  assert.equal(divided.optimizer, 2 * values)
})
