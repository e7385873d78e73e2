import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { ops, scope, tensor, type Tensor } from 'fettle-native'
import { attachLora } from 'fettle/dist/adapters/lora'
import { loraConfig, type LoraConfig } from 'fettle/dist/adapters/lora-config'
import { saveLora } from 'fettle/dist/adapters/peft'
import { mergeLora } from 'fettle/dist/export/merge'
import { loadParameters } from 'fettle/dist/models/load'
import { Random } from 'fettle/dist/models/random'
import { openWeights, readSafetensors } from 'fettle/dist/models/weights'
import { trace } from 'fettle/dist/train/trace'
import { baseOf, goldenCase, largestDifference, need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { inputsOf } from '../../support/family'
import { temporaryFolder } from '../../support/tiny'

const logitsOf = (model: string, inputs: ReadonlyMap<string, Tensor>, adapter?: string): Tensor =>
  need(trace({ model, adapter, inputs: new Map([...inputs].filter(([name]) => name === 'input_ids' || name === 'attention_mask')) }), 'logits')

for (const name of ['lora-llama', 'lora-llama-tied', 'rslora-llama', 'dora-llama', 'lora-patterns', 'lora-one-layer', 'lora-bloom', 'lora-opt', 'lora-fused-gate', 'dora-fused-heads', 'lora-norms-of-heads']) {
  test(`${name}: the merged folder answers as PEFT's merge and as base and adapter together`, (t) => scope(() => {
    const output = path.join(temporaryFolder(t), 'merged'), { folder, io } = goldenCase(name)
    const seen: string[] = []
    const files = mergeLora({ model: baseOf(name), adapter: folder, output, onProgress: ({ name: weight, done, total }) => seen.push(`${weight} ${done} ${total}`) })
    assert.deepEqual(files, ['model.safetensors', 'generation_config.json', 'config.json'])
    assert.equal(seen.length, openWeights(baseOf(name)).names().length)
    const logits = logitsOf(output, io)
    // Positions of padding see nothing, so that what they answer means nothing.
    const mask = ops.unsqueeze(need(io, 'attention_mask'), 2)
    for (const reference of [need(io, 'merged.logits'), logitsOf(baseOf(name), io, folder)]) {
      const error = largestDifference(ops.mul(logits, mask), ops.mul(reference, mask))
      assert.ok(error <= 1e-4, `logits are off by ${error}`)
    }
  }))
}

/** An adapter with values of its own in every part, as a training would leave it. */
function randomAdapter(model: string, folder: string, options: Partial<LoraConfig>): void {
  const parameters = loadParameters(openWeights(model), { dtype: 'float32', device: 'cpu', train: false })
  scope(() => {
    const lora = attachLora(parameters, loraConfig({ rank: 4, alpha: 8, ...options }), { seed: 3 }), random = new Random(4)
    for (const { name, master } of lora.named()) {
      const values = (spread: number, centre: number): Tensor => tensor(Float32Array.from({ length: master!.numel }, () => centre + (random.uniform() - 0.5) * spread), master!.shape)
      if (name.includes('lora_B')) ops.copy_(master!, values(0.1, 0))
      if (name.endsWith('magnitude_vector')) ops.copy_(master!, ops.mul(master!, values(0.4, 1)))
    }
    saveLora(lora, folder, model)
  })
  parameters.free()
}

const variants: Record<string, Partial<LoraConfig>> = {
  LoRA: {}, rsLoRA: { rankStabilized: true }, DoRA: { decomposed: true },
  'rsLoRA with DoRA and patterns': { rankStabilized: true, decomposed: true, rankPattern: { '.*\\.1\\..*': 2 }, alphaPattern: { '.*\\.0\\..*': 3 } },
}
for (const family of ['llama-v2-gqa', 'bloom', 'opt-125m-style', 'qwen-7b', 'chatglm-6b', 'chatglm2-6b'])
  test(`every variant merges into ${family}: the merged folder answers as base and adapter together`, (t) => scope(() => {
    const folder = temporaryFolder(t), model = fixture('golden', family), io = inputsOf(goldenCase(family).io, 'batch')
    const mask = io.get('attention_mask'), shown = (logits: Tensor): Tensor => (mask?.shape.length === 2 ? ops.mul(logits, ops.unsqueeze(mask, 2)) : logits)
    io.delete('labels')
    const run = (name: string, adapter?: string): Tensor => shown(need(trace({ model: name, adapter, inputs: io }), 'logits'))
    for (const [variant, options] of Object.entries(variants)) {
      const adapter = path.join(folder, `${variant} adapter`), output = path.join(folder, variant)
      randomAdapter(model, adapter, options)
      mergeLora({ model, adapter, output })
      const together = run(model, adapter)
      assert.ok(largestDifference(run(output), together) <= 1e-4, variant)
      assert.ok(largestDifference(run(model), together) > 1e-3, `${variant} does nothing`)
    }
  }))

test('a GGUF base is dequantised: the merged folder answers as base and adapter together', (t) => scope(() => {
  const folder = temporaryFolder(t), adapter = path.join(folder, 'adapter'), model = fixture('gguf', 'mixed.gguf')
  randomAdapter(model, adapter, {})
  const ids = tensor([5n, 17n, 9n, 30n, 22n, 7n], [1, 6]), inputs = new Map([['input_ids', ids]])
  const together = logitsOf(model, inputs, adapter)
  mergeLora({ model, adapter, output: path.join(folder, 'fp32'), dtype: 'fp32' })
  assert.ok(largestDifference(logitsOf(path.join(folder, 'fp32'), inputs), together) <= 1e-4)
  assert.ok(largestDifference(logitsOf(model, inputs), together) > 1e-2, 'the adapter does nothing')
  mergeLora({ model, adapter, output: path.join(folder, 'bf16') })
  const kept = readSafetensors(path.join(folder, 'bf16', 'model.safetensors'))
  assert.ok([...kept.values()].every((weight) => weight.dtype === 'bfloat16'))
  assert.equal((JSON.parse(fs.readFileSync(path.join(folder, 'bf16', 'config.json'), 'utf8')) as { torch_dtype?: string }).torch_dtype, 'bfloat16')
}))

test('what does not fit is refused by name', (t) => {
  const folder = temporaryFolder(t), adapter = fixture('golden', 'lora-llama'), model = baseOf('lora-llama')
  assert.throws(() => mergeLora({ model, adapter, output: model }), { name: 'PlanError', code: 'output.folder' })
  assert.throws(() => mergeLora({ model, adapter, output: adapter }), { name: 'PlanError', code: 'output.folder' })
  assert.throws(() => mergeLora({ model: fixture('golden', 'llama-tied-smollm'), adapter, output: folder }), { name: 'ModelError', code: 'lora.state' })
  assert.throws(() => mergeLora({ model, adapter: folder, output: path.join(folder, 'out') }), { name: 'ModelError', code: 'lora.files' })
})
