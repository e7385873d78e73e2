import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { adapter, model, ModelError, PlanError, sft } from 'fettle'
import { readGguf } from 'fettle/dist/models/weights'
import { fixture, repoRoot } from '../../support/paths'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

interface Entry { readonly shape: number[] }

/** Shapes of a safetensors file, read without the code under test. */
function shapes(file: string): Map<string, number[]> {
  const bytes = fs.readFileSync(file)
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString()) as Record<string, Entry>
  return new Map(Object.entries(header).filter(([name]) => name !== '__metadata__').map(([name, { shape }]) => [name, shape]))
}

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0)

for (const golden of ['llama-v2-gqa', 'llama-tied-smollm', 'llama-biases', 'llama-head-dim']) {
  test(`parameters of ${golden} are those of its header, part by part`, async (t) => {
    const folder = tinyModel(path.join(temporaryFolder(t), 'model'), golden)
    const header = shapes(path.join(folder, 'model.safetensors'))
    const info = await model(folder)
    assert.equal(info.parameters, sum([...header.values()].map(size)))
    const of = (pattern: RegExp): number => sum([...header].filter(([name]) => pattern.test(name)).map(([, shape]) => size(shape)))
    assert.deepEqual(Object.fromEntries(info.parts.map(({ name, parameters }) => [name, parameters])),
      { embedding: of(/embed_tokens/), attention: of(/self_attn/), MLP: of(/mlp/), norms: of(/norm/), head: of(/lm_head/) })
    assert.equal(info.bytes, fs.statSync(path.join(folder, 'model.safetensors')).size)
    assert.deepEqual([info.types.length, info.types[0].tensors, info.types[0].parameters, info.trainable, info.warnings], [1, header.size, info.parameters, null, []])
    assert.equal(info.tiedHead, of(/lm_head/) === 0)
  })
}

test('what trains: all weights, an adapter, some of its targets', async (t) => {
  const folder = tinyModel(path.join(temporaryFolder(t), 'model'))
  const header = shapes(path.join(folder, 'model.safetensors'))
  const linear = (pattern: RegExp, rank: number): number => sum([...header].filter(([name]) => pattern.test(name)).map(([, [rows, columns]]) => rank * (rows + columns)))
  const all = await model(sft(folder))
  assert.deepEqual(all.trainable, { method: 'sft', parameters: all.parameters, of: all.parameters, share: 1 })
  const lora = linear(/_proj\.weight$/, 8)
  const some = linear(/[qv]_proj\.weight$/, 2)
  assert.deepEqual((await model(folder, { lora: {} })).trainable, { method: 'lora', parameters: lora, of: all.parameters + lora, share: lora / (all.parameters + lora) })
  assert.equal((await model(sft(folder).lora({ rank: 2, targets: ['q_proj', 'v_proj'] }))).trainable?.parameters, some)
  await assert.rejects(model(folder, { lora: { targets: ['query'] } }), (error) => error instanceof ModelError && error.code === 'lora.target')
  await assert.rejects(model(folder, { lora: { rank: 0 } }), (error) => error instanceof PlanError)
  await assert.rejects(model({} as never), (error) => error instanceof PlanError && error.code === 'inspect.source')
  await assert.rejects(model(path.join(folder, 'nowhere')), (error) => error instanceof ModelError && error.code === 'model.path')
})

test('a folder that lacks weights says so', async (t) => {
  const folder = tinyModel(path.join(temporaryFolder(t), 'model'))
  const config = JSON.parse(fs.readFileSync(path.join(folder, 'config.json'), 'utf8')) as Record<string, number>
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ ...config, num_hidden_layers: config.num_hidden_layers + 1, vocab_size: config.vocab_size + 1 }))
  const { warnings } = await model(folder)
  assert.match(warnings[0], /^9 of \d+ weights are missing, first model\.layers\.3\./)
  assert.match(warnings[1], /^2 weights have another shape than config\.json says, first model\.embed_tokens\.weight/)
  assert.match(String(await model(folder)), /^! 9 of /m)
})

test('a GGUF file tells its own types', async (t) => {
  const folder = path.join(repoRoot, '.fettle', 'models')
  const name = fs.existsSync(folder) && fs.readdirSync(folder).find((file) => /^SmolLM2-135M-Instruct.*\.gguf$/.test(file))
  if (!name) return t.skip('builtin:smollm2-135m has not been unpacked on this machine')
  const file = path.join(folder, name)
  const info = await model(file)
  const { tensors } = readGguf(file)
  assert.equal(info.parameters, sum([...tensors.values()].map(({ shape }) => size(shape))))
  assert.deepEqual(new Set(info.types.map((type) => type.name)), new Set([...tensors.values()].map(({ type }) => type.name)))
})

test('an adapter: base, rank, targets, parameters', async (t) => {
  const folder = fixture('golden', 'lora-llama')
  const header = shapes(path.join(folder, 'adapter_model.safetensors'))
  const config = JSON.parse(fs.readFileSync(path.join(folder, 'adapter_config.json'), 'utf8')) as { r: number; lora_alpha: number; base_model_name_or_path: string; target_modules: string[] }
  const info = await adapter(folder)
  assert.deepEqual([info.rank, info.alpha, info.base, info.kind, info.steps], [config.r, config.lora_alpha, config.base_model_name_or_path, 'LoRA', null])
  assert.deepEqual([...info.targets].sort(), [...config.target_modules].sort())
  assert.equal(info.parameters, sum([...header.values()].map(size)))
  assert.equal(info.modules * 2, header.size)
  assert.equal((await adapter(fixture('golden', 'dora-llama'))).kind, 'DoRA')
  await assert.rejects(adapter(temporaryFolder(t)), (error) => error instanceof ModelError && error.code === 'lora.files')
})

test('looking at things loads no native addon and none of its parts', (t) => {
  const folder = temporaryFolder(t)
  const script = `const f = require('fettle'); (async () => {
    await f.model(${JSON.stringify(tinyModel(path.join(folder, 'model')))}, { lora: {} }); await f.adapter(${JSON.stringify(fixture('golden', 'lora-llama'))}); await f.checkpoints(${JSON.stringify(folder)})
    String(await f.inspect(f.sft(${JSON.stringify(path.join(folder, 'model'))}).data(${JSON.stringify(tinyData(path.join(folder, 'data')))})))
    console.log(JSON.stringify(Object.keys(require.cache).filter((n) => /fettle-native|[\\\\/]native[\\\\/](?!.*node_modules)/.test(n))))
  })()`
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script], { cwd: repoRoot, encoding: 'utf8', env: { ...process.env, FETTLE_HOME: path.join(folder, 'home') } })
  assert.equal(stdout.trim(), '[]', stderr)
})
