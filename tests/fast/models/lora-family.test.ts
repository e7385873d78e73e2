import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { ops, scope, tensor, type Tensor } from 'fettle-native'
import { loraConfigOf } from 'fettle/dist/adapters/lora-config'
import { loadLora, readLoraConfig, saveLora } from 'fettle/dist/adapters/peft'
import { chooseTargets } from 'fettle/dist/adapters/targets'
import { adapter, sft } from 'fettle'
import { FlatParameters } from 'fettle/dist/models/flat'
import { loadParameters } from 'fettle/dist/models/load'
import { Random } from 'fettle/dist/models/random'
import { openWeights, readSafetensors, writeSafetensors } from 'fettle/dist/models/weights'
import type { LoraOptions } from 'fettle'
import { AdamW } from 'fettle/dist/train/optimizer'
import { baseOf, largestDifference, need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'
import { startWorker, workerPlan } from '../../support/worker'
import { defaultLora } from 'fettle/dist/plan/defaults'

test('a plan asks for the adapters that PEFT made the reference cases of', () => {
  const cases: Record<string, LoraOptions> = {
    'lora-llama': { rank: 8, alpha: 16 }, 'rslora-llama': { rsLora: true }, 'dora-llama': { dora: true }, 'lora-patterns': {},
  }
  for (const [name, options] of Object.entries(cases)) {
    const { config } = readLoraConfig(fixture('golden', name))
    const { rank, alpha, dropout, rankPattern, alphaPattern } = config
    const plan = sft('m').lora({ ...options, rank, alpha, dropout, rankPattern, alphaPattern, rsLora: config.rankStabilized, dora: config.decomposed }).plan
    assert.deepEqual(loraConfigOf(plan.lora!), config)
    if (options.rsLora || options.dora) assert.deepEqual([config.rankStabilized, config.decomposed], [options.rsLora ?? false, options.dora ?? false])
  }
  assert.ok(Object.keys(readLoraConfig(fixture('golden', 'lora-patterns')).config.rankPattern).length > 0)
  assert.deepEqual([sft('m').lora({ rank: 16, rsLora: true }).plan.lora!.alpha, sft('m').lora({ rank: 16 }).plan.lora!.alpha], [4, 32])
})

test('targets are names, globs or one regular expression', () => {
  const all = ['model.layers.0.self_attn.q_proj', 'model.layers.0.mlp.up_proj', 'model.layers.1.self_attn.q_proj', 'model.layers.10.mlp.up_proj']
  const chosen = (targets: string | string[]): number[] => chooseTargets(targets, all).map((name) => all.indexOf(name))
  assert.deepEqual(chosen('all-linear'), [0, 1, 2, 3])
  assert.deepEqual(chosen(['q_proj']), [0, 2])
  assert.deepEqual(chosen(['mlp.up_proj', 'layers.1.self_attn.q_proj']), [1, 2, 3])
  assert.deepEqual(chosen(['layers.1.*']), [2])
  assert.deepEqual(chosen(['layers.?.*_proj']), [0, 1, 2])
  assert.deepEqual(chosen('.*\\.(0|10)\\..*'), [0, 1, 3])
  for (const wrong of ['q_proj', ['proj'], ['q_proj', 'x_proj'], []]) assert.throws(() => chooseTargets(wrong, all), { name: 'ModelError', code: 'lora.target' })
})

test('LoRA+ is AdamW with a multiple of the rate for what is fast', () => scope(() => {
  const random = new Random(3), specs = [{ shape: [4, 6], decay: true }, { shape: [5, 4], decay: true, fast: true }, { shape: [5], decay: false, fast: true }, { shape: [3], decay: false }]
  const sizes = specs.map(({ shape }) => shape.reduce((a, b) => a * b, 1)), draw = (n: number): number[] => Array.from({ length: n }, () => 2 * random.uniform() - 1)
  for (const ratio of [1, 16]) {
    const flat = new FlatParameters(specs, 'float32', 'cpu'), plan = { learningRate: 1e-2, weightDecay: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, maxGradNorm: 0 }
    const optimizer = new AdamW(flat, plan, ratio)
    const expected = sizes.map(draw), m = sizes.map((n) => new Array<number>(n).fill(0)), v = sizes.map((n) => new Array<number>(n).fill(0))
    flat.weights.forEach(({ master }, i) => ops.copy_(master!, tensor(new Float32Array(expected[i]), [...specs[i].shape])))
    for (let step = 1; step <= 4; step++) {
      const grads = sizes.map(draw)
      flat.weights.forEach(({ grad }, i) => ops.copy_(grad!, tensor(new Float32Array(grads[i]), [...specs[i].shape])))
      optimizer.update(1e-2)
      specs.forEach(({ decay, fast }, i) => grads[i].forEach((g, k) => {
        const rate = 1e-2 * (fast ? ratio : 1)
        m[i][k] = 0.9 * m[i][k] + 0.1 * g
        v[i][k] = 0.99 * v[i][k] + 0.01 * g * g
        const step1 = m[i][k] / (1 - 0.9 ** step) / (Math.sqrt(v[i][k] / (1 - 0.99 ** step)) + 1e-8)
        expected[i][k] = expected[i][k] * (1 - rate * (decay ? 0.1 : 0)) - rate * step1
      }))
    }
    flat.weights.forEach(({ master }, i) => master!.toArray().forEach((value, k) => assert.ok(Math.abs(value - expected[i][k]) < 2e-5, `ratio ${ratio}, weight ${i}: ${value} against ${expected[i][k]}`)))
    assert.equal(optimizer.updates, 4)
    optimizer.free()
    flat.free()
  }
}))

/** A PEFT adapter written as PaddleNLP writes it: its names, A [in, r], B [r, out]. */
function asPaddle(original: string, folder: string, rename: (module: string) => string): void {
  const saved = JSON.parse(fs.readFileSync(path.join(original, 'adapter_config.json'), 'utf8')) as Record<string, unknown>
  fs.mkdirSync(folder)
  scope(() => {
    const state = [...readSafetensors(path.join(original, 'adapter_model.safetensors'))]
    writeSafetensors(path.join(folder, 'peft_model.safetensors'), new Map(state.map(([name, value]): [string, Tensor] => [rename(name.replace('base_model.model.', '').replace('.weight', '')), ops.contiguous(ops.t(value))])))
  })
  fs.writeFileSync(path.join(folder, 'lora_config.json'), JSON.stringify({ r: saved.r, lora_alpha: saved.lora_alpha, lora_dropout: 0, rslora: saved.use_rslora, target_modules: ['.*'], base_model_name_or_path: 'base' }))
}

test("PaddleNLP's adapters are read, and saved as PEFT's", (t) => {
  const names: Record<string, (module: string) => string> = {
    'rslora-llama': (name) => name.replace('model.', 'llama.'), 'lora-bloom': (name) => name.replace('transformer.', 'bloom.'),
    'lora-opt': (name) => name.replace('model.', 'opt.').replace('.fc1', '.linear1').replace('.fc2', '.linear2'),
  }
  for (const [name, rename] of Object.entries(names)) {
    const folder = temporaryFolder(t), original = fixture('golden', name), paddle = path.join(folder, 'paddle')
    asPaddle(original, paddle, rename)
    const parameters = loadParameters(openWeights(baseOf(name)), { dtype: 'float32', device: 'cpu', train: false })
    const loaded = loadLora(parameters, paddle), reference = readLoraConfig(original).config
    assert.deepEqual([loaded.config.rank, loaded.config.alpha, loaded.config.rankStabilized], [reference.rank, reference.alpha, reference.rankStabilized])
    saveLora(loaded, path.join(folder, 'peft'), 'base')
    parameters.free()
    scope(() => {
      const before = readSafetensors(path.join(original, 'adapter_model.safetensors')), after = readSafetensors(path.join(folder, 'peft', 'adapter_model.safetensors'))
      assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort())
      for (const [key, value] of before) assert.equal(largestDifference(value, need(after, key)), 0)
    })
  }
})

test('what PaddleNLP adds to a LoRA is refused by name', (t) => {
  const folder = temporaryFolder(t)
  for (const [extra, pattern] of [[{ pissa: true }, /pissa true/], [{ tensor_parallel_degree: 2 }, /tensor_parallel_degree 2/], [{ trainable_bias: 'lora' }, /trainable_bias "lora"/]] as const) {
    fs.writeFileSync(path.join(folder, 'lora_config.json'), JSON.stringify({ r: 8, lora_alpha: 16, ...extra }))
    assert.throws(() => readLoraConfig(folder), (error) => (error as { code?: string }).code === 'lora.kind' && pattern.test((error as Error).message))
  }
})

test('a run goes on from an adapter, with its rank and values', async (t) => {
  const folder = temporaryFolder(t), lora = { ...defaultLora, rank: 4, alpha: 4, rsLora: true, dora: true, plusRatio: 4, targets: ['*_proj'], rankPattern: { q_proj: 2 } }
  const run = async (changes: Parameters<typeof workerPlan>[1]): Promise<string> => {
    const plan = workerPlan(folder, { method: 'lora', steps: 2, ...changes })
    const worker = startWorker(t, plan)
    await worker.event('done')
    await worker.close()
    return plan.output
  }
  const first = await run({ lora })
  const base = workerPlan(folder, {})
  const second = await run({ lora: { ...defaultLora, from: first }, output: path.join(folder, 'more'), optimizer: { ...base.optimizer, learningRate: 1e-12 } })
  assert.deepEqual(readLoraConfig(second).config, readLoraConfig(first).config)
  assert.deepEqual([readLoraConfig(second).config.decomposed, readLoraConfig(second).config.rankPattern], [true, { q_proj: 2 }])
  scope(() => {
    const [before, after] = [first, second].map((each) => readSafetensors(path.join(each, 'adapter_model.safetensors')))
    assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort())
    for (const [key, value] of before) assert.ok(largestDifference(value, need(after, key)) < 1e-9, key)
    assert.ok(before.get('base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight')!.shape[0] === 2)
    assert.ok(need(before, 'base_model.model.model.layers.0.mlp.up_proj.lora_B.weight').toArray().some((value) => value !== 0))
  })
})

test('an adapter to go on from that is none is refused before anything starts', async (t) => {
  const folder = temporaryFolder(t), { data } = workerPlan(folder, {})
  const from = (adapter: string) => sft(path.join(folder, 'model')).data(data.path!).lora({ from: adapter }).output(path.join(folder, 'out')).start()
  await assert.rejects(from(folder), { name: 'ModelError', code: 'lora.files' })
  fs.writeFileSync(path.join(folder, 'adapter_config.json'), '{"peft_type": "LORA", "r": 8}')
  await assert.rejects(from(folder), { name: 'ModelError', code: 'lora.files', message: /adapter_model\.safetensors or adapter_model\.bin/ })
  fs.writeFileSync(path.join(folder, 'adapter_config.json'), '{"peft_type": "PREFIX_TUNING"}')
  await assert.rejects(from(folder), { name: 'ModelError', code: 'lora.kind' })
  assert.equal(fs.existsSync(path.join(folder, 'out')), false)
})

test('pickled adapters of PEFT and PaddleNLP are the same adapter', async () => {
  const original = fixture('golden', 'lora-one-layer')
  for (const name of ['peft-pickled', 'paddle-pickled']) {
    const folder = fixture('adapters', name), parameters = loadParameters(openWeights(baseOf('lora-one-layer')), { dtype: 'float32', device: 'cpu', train: false })
    const loaded = loadLora(parameters, folder)
    scope(() => {
      const before = readSafetensors(path.join(original, 'adapter_model.safetensors')), after = loaded.state()
      assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort())
      for (const [key, value] of before) assert.equal(largestDifference(value, need(after, key)), 0)
    })
    parameters.free()
    const described = await adapter(folder)
    assert.deepEqual([described.rank, described.alpha, described.modules, described.base], [3, 6, 2, 'llama-head-dim'])
  }
})
