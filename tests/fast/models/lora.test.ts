import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { getRngState, memory, ops, scope, type Tensor } from 'fettle-native'
import { attachLora, linearModules } from 'fettle/dist/adapters/lora'
import { loraConfig } from 'fettle/dist/adapters/lora-config'
import { loadLora, readLoraConfig, saveLora } from 'fettle/dist/adapters/peft'
import { packBatch } from 'fettle/dist/models/batch'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import type { Parameters } from 'fettle/dist/models/parameters'
import { openWeights, readSafetensors, writeSafetensors } from 'fettle/dist/models/weights'
import { generate } from 'fettle/dist/train/generate'
import { largestDifference, need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const base = (name = 'llama-v2-gqa'): Parameters => loadParameters(openWeights(fixture('golden', name)), { dtype: 'float32', device: 'cpu', train: false })
const config = loraConfig({ rank: 4, alpha: 8 })

function logits(parameters: Parameters, options: { dropout?: boolean } = {}): Tensor {
  return scope(() => {
    const decoder = new Decoder(parameters, plainBlocks())
    const batch = packBatch([{ inputIds: [5, 6, 7, 8, 9] }, { inputIds: [20, 21] }])
    const context = decoder.context(batch, { mode: options.dropout ? 'train' : 'infer', ...options })
    let x = decoder.embed(batch, context)
    for (let i = 0; i < decoder.chunks[0].end; i++) x = decoder.layerForward(i, x, context).out
    return decoder.headLogits(x, context)
  })
}

describe('a new adapter', () => {
  test('changes nothing yet, for LoRA and DoRA', () => scope(() => {
    const parameters = base(), before = logits(parameters)
    for (const decomposed of [false, true]) {
      const adapter = attachLora(parameters, { ...config, decomposed }, { seed: 1 })
      assert.ok(largestDifference(logits(parameters), before) < (decomposed ? 1e-5 : 1e-12))
      adapter.detach()
    }
    assert.equal(largestDifference(logits(parameters), before), 0)
    parameters.free()
  }))

  test('starts from its seed alone: A within ±1/√in, B zero, training\'s generator untouched', () => scope(() => {
    const state = (seed: number): Map<string, Tensor> => {
      const parameters = base()
      const copy = new Map([...attachLora(parameters, config, { seed }).state()].map(([name, value]) => [name, ops.clone(value)]))
      parameters.free()
      return copy
    }
    const rng = getRngState(), one = state(1), again = state(1), other = state(2)
    assert.deepEqual(getRngState(), rng)
    const name = 'base_model.model.model.layers.1.mlp.down_proj.lora_A.weight'
    assert.equal(largestDifference(need(one, name), need(again, name)), 0)
    assert.ok(largestDifference(need(one, name), need(other, name)) > 0.01)
    const values = need(one, name).toFloat32Array(), bound = 1 / Math.sqrt(160)
    assert.ok(values.every((v) => Math.abs(v) <= bound))
    assert.ok(Math.abs(values.reduce((sum, v) => sum + v * v, 0) / values.length / (bound * bound / 3) - 1) < 0.15)
    for (const [key, value] of one) if (key.includes('lora_B')) assert.ok(value.toFloat32Array().every((v) => v === 0))
  }))

  test('adapts what is asked: all linears, or names and ends of names', () => scope(() => {
    const parameters = base()
    const modules = (targets: 'all-linear' | string[]): string[] => {
      const adapter = attachLora(parameters, { ...config, targets }, { seed: 1 })
      const found = adapter.modules
      adapter.detach()
      return found
    }
    assert.deepEqual(modules('all-linear'), linearModules(parameters))
    assert.equal(modules('all-linear').length, 21)
    assert.deepEqual(modules(['v_proj', 'model.layers.0.mlp.up_proj']), ['model.layers.0.self_attn.v_proj', 'model.layers.0.mlp.up_proj', 'model.layers.1.self_attn.v_proj', 'model.layers.2.self_attn.v_proj'])
    assert.throws(() => modules(['v_proj', 'query', 'lm_head']), { code: 'lora.target', message: /q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj.*query, lm_head/ })
    assert.throws(() => modules([]), { code: 'lora.target' })
    parameters.free()
  }))

  test('needs frozen weights, and goes without a trace', () => scope(() => {
    const trained = loadParameters(openWeights(fixture('golden', 'llama-v2-gqa')), { dtype: 'float32', device: 'cpu', train: true })
    assert.throws(() => attachLora(trained, config, { seed: 1 }), { code: 'lora.attached' })
    trained.free()
    const before = memory().liveTensors
    const parameters = base()
    attachLora(parameters, { ...config, decomposed: true }, { seed: 1 })
    parameters.free()
    assert.equal(memory().liveTensors, before)
  }))

  test('dropout acts in training only, and draws anew each time', () => scope(() => {
    const parameters = base('llama-v2-gqa')
    const adapter = loadLora(parameters, fixture('golden', 'lora-llama'))
    adapter.detach()
    const state = new Map([...loadLora(base(), fixture('golden', 'lora-llama')).state()].map(([name, value]) => [name, ops.clone(value)]))
    attachLora(parameters, { ...adapter.config, dropout: 0.5 }, { state })
    const quiet = logits(parameters)
    assert.equal(largestDifference(logits(parameters), quiet), 0)
    const one = logits(parameters, { dropout: true }), two = logits(parameters, { dropout: true })
    assert.ok(largestDifference(one, quiet) > 1e-3)
    assert.ok(largestDifference(one, two) > 1e-3)
    parameters.free()
  }))
})

test('merged into bf16 weights it rounds once: the merged model answers as the adapted one', () => scope(() => {
  const open = (): Parameters => loadParameters(openWeights(fixture('golden', 'llama-v2-gqa')), { dtype: 'bfloat16', device: 'cpu', train: false })
  const answers = (fuse: boolean): Tensor => {
    const parameters = open(), adapter = loadLora(parameters, fixture('golden', 'lora-llama'))
    if (fuse) adapter.fuse()
    const result = logits(parameters)
    assert.ok(!fuse || (parameters.adapter === null && parameters.flat === null))
    parameters.free()
    return result
  }
  const adapted = answers(false)
  assert.ok(largestDifference(answers(true), adapted) < 0.06 * Math.max(...adapted.toFloat32Array().map(Math.abs)))
}))

test('generation uses the adapter, merged or not', () => scope(() => {
  const parameters = base(), adapter = loadLora(parameters, fixture('golden', 'lora-llama'))
  const answer = (): number[][] => { const decoder = new Decoder(parameters, plainBlocks()); const ids = generate(decoder, [[5, 6, 7]], { maxNewTokens: 10, stopIds: [] }); decoder.free(); return ids }
  const adapted = answer()
  adapter.fuse()
  assert.deepEqual(answer(), adapted)
  parameters.free()
}))

describe('files', () => {
  const edited = (folder: string, change: (config: Record<string, unknown>) => void): string => {
    fs.cpSync(fixture('golden', 'lora-llama'), folder, { recursive: true })
    const file = path.join(folder, 'adapter_config.json')
    const saved = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>
    change(saved)
    fs.writeFileSync(file, JSON.stringify(saved))
    return folder
  }

  test('other kinds of adapters are refused by name', (t) => {
    for (const [field, value] of [['peft_type', 'PREFIX_TUNING'], ['bias', 'all'], ['modules_to_save', ['lm_head']], ['fan_in_fan_out', true], ['lora_bias', true], ['trainable_token_indices', [1]]] as const) {
      const folder = edited(temporaryFolder(t), (c) => { c[field] = value })
      assert.throws(() => readLoraConfig(folder), { name: 'ModelError', code: 'lora.kind', message: new RegExp(field) })
    }
    const folder = temporaryFolder(t)
    assert.throws(() => readLoraConfig(folder), { code: 'lora.files' })
  })

  test('an adapter of another model or rank is refused with name and shapes', (t) => scope(() => {
    const other = base('llama-v1-mha')
    assert.throws(() => loadLora(other, fixture('golden', 'lora-llama')), { code: 'lora.target' })
    const parameters = base()
    const folder = edited(temporaryFolder(t), (c) => { c['r'] = 16 })
    assert.throws(() => loadLora(parameters, folder), { code: 'lora.state', message: /lora_A\.weight of shape \[16, 64\].*\[8, 64\]/ })
    other.free()
    parameters.free()
  }))

  test('target_modules are short names, or full ones where only some layers are adapted', (t) => scope(() => {
    const written = (targets: string[]): unknown => {
      const folder = temporaryFolder(t), parameters = base()
      saveLora(attachLora(parameters, { ...config, targets }, { seed: 1 }), folder, 'some/model')
      parameters.free()
      return (JSON.parse(fs.readFileSync(path.join(folder, 'adapter_config.json'), 'utf8')) as { target_modules: unknown }).target_modules
    }
    assert.deepEqual(written(['v_proj', 'q_proj']), ['q_proj', 'v_proj'])
    assert.deepEqual(written(['model.layers.1.self_attn.v_proj']), ['model.layers.1.self_attn.v_proj'])
  }))

  test('PEFT names a body without head without `model.`', (t) => scope(() => {
    const folder = edited(temporaryFolder(t), () => undefined), file = path.join(folder, 'adapter_model.safetensors')
    writeSafetensors(file, new Map([...readSafetensors(file)].map(([name, value]) => [name.replace('base_model.model.model.', 'base_model.model.'), ops.clone(value)])))
    const a = base(), b = base()
    loadLora(a, folder)
    loadLora(b, fixture('golden', 'lora-llama'))
    assert.equal(largestDifference(logits(a), logits(b)), 0)
    a.free()
    b.free()
  }))
})
