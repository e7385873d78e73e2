import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { ops, scope, type Tensor } from 'fettle-native'
import { model } from 'fettle'
import { attachLora, linearModules } from 'fettle/dist/adapters/lora'
import { loraConfig } from 'fettle/dist/adapters/lora-config'
import { exportModel } from 'fettle/dist/export/folder'
import { loadParameters } from 'fettle/dist/models/load'
import type { Parameters } from 'fettle/dist/models/parameters'
import { openWeights, readSafetensors } from 'fettle/dist/models/weights'
import { changedModel } from '../../support/checkpoint'
import { need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

/** Modules that LoRA adapts in each layer by default, and outside of the layers. */
const adapted: Record<string, { readonly layer: string; readonly inLayer: readonly string[]; readonly outside?: readonly string[] }> = {
  'bloom-12-heads': { layer: 'transformer.h', inLayer: ['self_attention.query_key_value', 'self_attention.dense', 'mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'] },
  'opt-125m-style': { layer: 'model.decoder.layers', inLayer: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.out_proj', 'fc1', 'fc2'] },
  'opt-350m-style': { layer: 'model.decoder.layers', inLayer: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.out_proj', 'fc1', 'fc2'], outside: ['model.decoder.project_in', 'model.decoder.project_out'] },
  'qwen-7b': { layer: 'transformer.h', inLayer: ['attn.c_attn', 'attn.c_proj', 'mlp.w1', 'mlp.w2', 'mlp.c_proj'] },
  'chatglm2-6b-8-heads': { layer: 'transformer.encoder.layers', inLayer: ['self_attention.query_key_value', 'self_attention.dense', 'mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'] },
  'chatglm-6b': { layer: 'transformer.layers', inLayer: ['attention.query_key_value', 'attention.dense', 'mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'] },
  'glm4-9b-style': { layer: 'model.layers', inLayer: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.o_proj', 'mlp.gate_up_proj', 'mlp.down_proj'] },
  'qwen3': { layer: 'model.layers', inLayer: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.o_proj', 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'] },
}

const load = (folder: string, train = false): Parameters => loadParameters(openWeights(folder), { dtype: 'float32', device: 'cpu', train })

for (const [name, { layer, inLayer, outside = [] }] of Object.entries(adapted)) {
  describe(name, () => {
    test('loaded and saved again every tensor is the same', (t) => scope(() => {
      const original = fixture('golden', name)
      for (const train of [false, true]) {
        const folder = temporaryFolder(t), parameters = load(original, train)
        exportModel(parameters, original, folder)
        parameters.free()
        const before = readSafetensors(path.join(original, 'model.safetensors')), after = readSafetensors(path.join(folder, 'model.safetensors'))
        assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort())
        for (const [key, value] of before) {
          assert.deepEqual([need(after, key).dtype, need(after, key).shape], [value.dtype, value.shape], key)
          assert.ok(Buffer.from(need(after, key).toBytes()).equals(Buffer.from(value.toBytes())), key)
        }
      }
    }))

    test('LoRA adapts every linear layer but the head by default', () => scope(() => {
      const parameters = load(fixture('golden', name))
      const expected = [...Array.from({ length: parameters.architecture.layers }, (_, i) => inLayer.map((module) => `${layer}.${i}.${module}`)).flat(), ...outside]
      assert.deepEqual([...linearModules(parameters)].sort(), [...expected].sort())
      const shapes = new Map([...readSafetensors(path.join(fixture('golden', name), 'model.safetensors'))].map(([key, value]) => [key, value.shape]))
      // PEFT's shapes, for fused matrices too: A [rank, in], B [out, rank] of the module as the checkpoint holds it.
      for (const [key, value] of attachLora(parameters, loraConfig({ rank: 4, alpha: 8 }), { seed: 1 }).state()) {
        const [rows, columns] = shapes.get(key.replace('base_model.model.', '').replace(/lora_[AB]\.weight$/, 'weight'))!
        assert.deepEqual(value.shape, key.includes('lora_A') ? [4, columns] : [rows, 4], key)
      }
      parameters.free()
    }))

    test('is inspected as it is loaded', async () => {
      const info = await model(fixture('golden', name), { lora: { rank: 4 } }), parameters = load(fixture('golden', name))
      scope(() => {
        const sizes = (list: Iterable<Tensor>): number => [...list].reduce((sum, value) => sum + value.numel, 0)
        assert.equal(info.parameters, sizes(parameters.named().map(({ value }) => value)))
        assert.equal(info.trainable!.parameters, sizes(attachLora(parameters, loraConfig({ rank: 4, alpha: 8 }), { seed: 1 }).state().values()))
        assert.deepEqual(info.warnings, [])
        parameters.free()
      })
    })

    test('files that leave out what stands before the body are read, and written as they were', (t) => scope(() => {
      const body = new RegExp(`^${layer.split('.')[0]}\\.`)
      const folder = changedModel(temporaryFolder(t), name, { weights: (w) => new Map([...w].map(([key, value]) => [key.replace(body, ''), value])) })
      const parameters = load(folder), out = temporaryFolder(t)
      exportModel(parameters, folder, out)
      parameters.free()
      assert.deepEqual([...readSafetensors(path.join(out, 'model.safetensors')).keys()].sort(), [...readSafetensors(path.join(folder, 'model.safetensors')).keys()].sort())
    }))

    test('a missing weight and one too many are named', (t) => scope(() => {
      const names = [...readSafetensors(path.join(fixture('golden', name), 'model.safetensors')).keys()]
      const change = (weights: (w: Map<string, Tensor>) => Map<string, Tensor>): string => changedModel(temporaryFolder(t), name, { weights })
      for (const key of names.filter((_, i) => i % 5 === 1 && !names[i].startsWith('lm_head')))
        assert.throws(() => load(change((w) => { w.delete(key); return w })), (error: Error & { code: string }) => error.code === 'model.missing' && error.message.includes(key), key)
      const extra = `${layer}.${7}.${inLayer[0]}.weight`
      assert.throws(() => load(change((w) => w.set(extra, ops.zeros([2, 2])))), (error: Error & { code: string }) => error.code === 'model.unexpected' && error.message.includes(extra))
      const wide = `${layer}.1.${inLayer[0]}.weight`
      assert.throws(() => load(change((w) => w.set(wide, ops.zeros([3, 64])))), (error: Error & { code: string }) => error.code === 'model.shape' && error.message.includes(wide))
    }))
  })
}

describe('config.json against the weights', () => {
  const contradicts = (t: TestContext, name: string, config: (config: Record<string, unknown>) => void, code: string, message: RegExp): void =>
    scope(() => assert.throws(() => load(changedModel(temporaryFolder(t), name, { config })), { name: 'ModelError', code, message }))

  test('one layer less than the file holds', (t) => contradicts(t, 'llama-v2-gqa', (c) => { c['num_hidden_layers'] = 2 }, 'model.unexpected', /model\.layers\.2\./))
  test('one layer more', (t) => contradicts(t, 'bloom', (c) => { c['n_layer'] = 3 }, 'model.missing', /transformer\.h\.2\./))
  test('another width of the embedding', (t) => contradicts(t, 'opt-350m-style', (c) => { c['word_embed_proj_dim'] = 64 }, 'model.shape', /embed_tokens\.weight.*\[320, 32\].*\[320, 64\]/))
  test('fewer positions', (t) => contradicts(t, 'opt-125m-style', (c) => { c['max_position_embeddings'] = 64 }, 'model.shape', /embed_positions\.weight.*\[130, 64\].*\[66, 64\]/))
  test('heads that do not divide', (t) => contradicts(t, 'bloom', (c) => { c['n_head'] = 7 }, 'model.config', /n_head.*64 and 7/))
  test('a head said to be tied that is another weight', (t) => scope(() => {
    const folder = changedModel(temporaryFolder(t), 'bloom', { weights: (w) => w.set('lm_head.weight', ops.add(need(w, 'transformer.word_embeddings.weight'), 1)) })
    assert.throws(() => load(folder), { name: 'ModelError', code: 'model.tied', message: /lm_head\.weight.*transformer\.word_embeddings\.weight.*tie_word_embeddings/ })
  }))
  test('a head said to be its own that is missing', (t) => contradicts(t, 'bloom', (c) => { c['tie_word_embeddings'] = false }, 'model.missing', /lm_head\.weight/))
})



test('a tied head that the file holds twice is written twice', (t) => scope(() => {
  const folder = changedModel(temporaryFolder(t), 'bloom', { weights: (w) => w.set('lm_head.weight', need(w, 'transformer.word_embeddings.weight')) })
  const parameters = load(folder, true), out = temporaryFolder(t)
  ops.fill_(parameters.embedding.value, 3)
  exportModel(parameters, folder, out)
  const saved = readSafetensors(path.join(out, 'model.safetensors'))
  assert.ok(need(saved, 'lm_head.weight').toFloat32Array().every((value) => value === 3))
  assert.ok(fs.existsSync(path.join(out, 'config.json')))
  parameters.free()
}))
