import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { getRngState, memory, scope, tensor, type Tensor } from 'fettle-native'
import { adapter as inspectAdapter } from 'fettle'
import { loadAdapter } from 'fettle/dist/adapters/adapter'
import { prefixToGoOn } from 'fettle/dist/adapters/kind'
import { attachLora } from 'fettle/dist/adapters/lora'
import { loraConfig } from 'fettle/dist/adapters/lora-config'
import { attachPrefix, type PrefixAdapter } from 'fettle/dist/adapters/prefix'
import { loadPrefix, savePrefix } from 'fettle/dist/adapters/prefix-files'
import { ModelError } from 'fettle/dist/errors'
import { mergeLora } from 'fettle/dist/export/merge'
import { packBatch } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { stepMemory } from 'fettle/dist/models/memory'
import type { Parameters } from 'fettle/dist/models/parameters'
import { openWeights } from 'fettle/dist/models/weights'
import { walk } from 'fettle/dist/train/walk'
import { trace } from 'fettle/dist/train/trace'
import { baseOf, goldenCase, gradientError, need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const frozen = (name = 'llama-v2-gqa'): Parameters => loadParameters(openWeights(fixture('golden', name)), { dtype: 'float32', device: 'cpu', train: false })
const values = (adapter: PrefixAdapter, index: number): Float32Array => adapter.named()[index].master!.toFloat32Array()
const spread = (all: Float32Array): { mean: number; deviation: number; largest: number } => {
  const mean = all.reduce((a, b) => a + b, 0) / all.length
  return { mean, deviation: Math.sqrt(all.reduce((a, b) => a + (b - mean) ** 2, 0) / all.length), largest: all.reduce((a, b) => Math.max(a, Math.abs(b)), 0) }
}

describe('a new prefix', () => {
  test('starts as PEFT does, from its seed alone: normal(0, 1), linear layers within 1 / √in', () => scope(() => {
    const before = getRngState('cpu'), parameters = frozen(), plain = attachPrefix(parameters, { tokens: 128, hidden: null }, { seed: 5 })
    const { mean, deviation, largest } = spread(values(plain, 0)), first = values(plain, 0).slice(0, 20)
    assert.ok(Math.abs(mean) < 0.05 && Math.abs(deviation - 1) < 0.05 && largest > 3 && largest < 6, `${mean} ${deviation} ${largest}`)
    plain.free()
    const again = attachPrefix(parameters, { tokens: 128, hidden: null }, { seed: 5 })
    assert.deepEqual(values(again, 0).slice(0, 20), first)
    again.free()
    const projected = attachPrefix(parameters, { tokens: 4, hidden: 100 }, { seed: 6 })
    assert.deepEqual(projected.named().map(({ name, master }) => [name, ...master!.shape]), [
      ['prompt_encoder.embedding.weight', 4, 16], ['prompt_encoder.transform.0.weight', 100, 16], ['prompt_encoder.transform.0.bias', 100],
      ['prompt_encoder.transform.2.weight', 96, 100], ['prompt_encoder.transform.2.bias', 96],
    ])
    for (const [index, inputs] of [[1, 16], [2, 16], [3, 100], [4, 100]]) {
      const bound = 1 / Math.sqrt(inputs), { largest: most } = spread(values(projected, index))
      assert.ok(most <= bound && most > bound * 0.9, `${index}: ${most}`)
    }
    assert.deepEqual(projected.named().map(({ decay }) => decay), [true, true, false, true, false])
    parameters.free()
    assert.deepEqual(getRngState('cpu'), before)
  }))

  test('needs a frozen model without an adapter, leaves no tensor behind, and a sequence must leave it room', () => {
    const round = (): void => scope(() => {
      const parameters = frozen('opt-125m-style'), adapter = attachPrefix(parameters, { tokens: 10, hidden: 8 }, { seed: 1 })
      assert.throws(() => attachPrefix(parameters, { tokens: 2, hidden: null }, { seed: 1 }), { code: 'prefix.attached' })
      assert.throws(() => attachLora(parameters, loraConfig({ rank: 2, alpha: 4 }), { seed: 1 }), { code: 'lora.attached' })
      const decoder = new Decoder(parameters, plainBlocks()), { maxPositions } = parameters.architecture
      decoder.refuseLength(maxPositions - 10)
      assert.throws(() => decoder.refuseLength(maxPositions - 9), /less the 10 of its prefix/)
      adapter.free()
      decoder.refuseLength(maxPositions)
      decoder.free()
      parameters.free()
    })
    round()
    const before = memory().liveTensors
    round()
    assert.equal(memory().liveTensors, before)
  })

  test('fused blocks give what plain ones do, in bf16 too; a causal row needs no mask', () => scope(() => {
    const rows = [[5, 9, 30, 7, 11, 60, 8, 21], [17, 4, 90, 33, 6], [101, 44, 3, 9, 250, 12]].map((inputIds) => ({ inputIds, labels: inputIds }))
    for (const [dtype, loss, gradient] of [['float32', 1e-6, 1e-5], ['bfloat16', 0.01, 0.05]] as const) {
      const [plain, fused] = (['plain', 'auto'] as const).map((blocks) => {
        const parameters = loadParameters(openWeights(fixture('golden', 'llama-v2-gqa')), { dtype, device: 'cpu', train: false })
        attachPrefix(parameters, { tokens: 5, hidden: 12 }, { seed: 4 })
        const decoder = new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype, blocks })), batch = packBatch(rows)
        assert.equal(scope(() => decoder.context(batch, { mode: 'train' }).scores.full), null)
        const { lossSum } = walk(decoder, batch, { scale: 0.1 })
        walk(decoder, batch, { scale: 0.1, recompute: true }) // a second micro-batch adds to the first
        const result = { loss: lossSum.item(), grads: parameters.trainable().map(({ name, grad }) => ({ name, value: tensor(grad!.toFloat32Array(), grad!.shape) })) }
        decoder.free()
        parameters.free()
        return result
      })
      assert.ok(Math.abs(fused.loss / plain.loss - 1) <= loss, `${fused.loss} ${plain.loss}`)
      const worst = gradientError(plain.grads.map(({ name, value }, i) => ({ name, reference: value, seen: fused.grads[i].value })))
      assert.ok(worst.error <= gradient, `${dtype} ${worst.name}: ${worst.error}`)
    }
  }))

  test('takes memory for its mask and for the keys and values of each sequence', () => {
    const { architecture } = frozen(), step = { tokens: 100, longest: 50, bytesPerValue: 4, recompute: false }
    const more = stepMemory(architecture, { ...step, prefix: { places: 10, sequences: 2 } }) - stepMemory(architecture, step)
    assert.equal(more, 3 * (100 + 2 * 10) * (64 + 32 + 64) * 4 + 50 * 60)
  })
})

describe('files of a prefix', () => {
  test('a prefix that does not fit the model is refused with both shapes', () => scope(() => {
    const parameters = frozen('mistral')
    assert.throws(() => loadPrefix(parameters, fixture('golden', 'prefix-llama')), { code: 'prefix.model' })
    assert.equal(parameters.adapter, null)
    parameters.free()
  }))

  test('an adapter of either kind is attached by what its folder says; a prefix shows what it is', async () => {
    scope(() => {
      const parameters = frozen()
      for (const [name, code] of [['prefix-llama', 'prefix'], ['lora-llama', 'lora']] as const) {
        const adapter = loadAdapter(parameters, fixture('golden', name))
        assert.equal(parameters.adapter, adapter)
        assert.equal('prefix' in adapter, code === 'prefix')
        adapter.free()
      }
      parameters.free()
    })
    const { kind, tokens, rank, layers, parameters, base } = await inspectAdapter(fixture('golden', 'prefix-llama'))
    assert.deepEqual({ kind, tokens, rank, layers, parameters, base }, { kind: 'prefix', tokens: 8, rank: null, layers: 3, parameters: 768, base: 'llama-v2-gqa' })
    const paddle = await inspectAdapter(fixture('golden', 'prefix-chatglm2-projection'))
    assert.deepEqual([paddle.kind, paddle.tokens, paddle.layers, paddle.parameters], ['prefix', 4, 1, 4 * 72])
  })

  test('a folder to go on from is looked at by its files alone', () => {
    const at = (name: string, projection = false): unknown => prefixToGoOn({ projection }, fixture('golden', name)).config
    assert.deepEqual(at('prefix-chatglm2-projection', true), { tokens: 4, hidden: 20 })
    assert.deepEqual(at('prefix-llama-encoder', true), { tokens: 5, hidden: 40 })
    assert.deepEqual(at('prefix-llama-projection'), { tokens: 8, hidden: null })
    assert.throws(() => at('prefix-llama-projection', true), { code: 'prefix.projection' })
    assert.throws(() => at('lora-llama'), { code: 'prefix.kind' })
  })

  test('it is no change of weights: merging is refused, in trace too', (t) => {
    const folder = fixture('golden', 'prefix-llama'), output = path.join(temporaryFolder(t), 'merged')
    assert.throws(() => mergeLora({ model: baseOf('prefix-llama'), adapter: folder, output }), { code: 'prefix.merge' })
    assert.ok(!fs.existsSync(output))
    const inputs = new Map([['input_ids', need(goldenCase('prefix-llama').io, 'input_ids')]])
    assert.throws(() => scope(() => trace({ model: baseOf('prefix-llama'), adapter: folder, merge: true, inputs })), { code: 'prefix.merge' })
  })

  test('a config that is not whole is refused by field', (t) => scope(() => {
    const folder = temporaryFolder(t), parameters = frozen()
    const write = (changes: object): void => fs.writeFileSync(path.join(folder, 'adapter_config.json'), JSON.stringify({ peft_type: 'PREFIX_TUNING', num_virtual_tokens: 8, num_layers: 3, num_attention_heads: 2, token_dim: 16, ...changes }))
    for (const [changes, code] of [[{ num_virtual_tokens: 0 }, 'prefix.config'], [{ token_dim: null }, 'prefix.config'], [{ num_transformer_submodules: 2 }, 'prefix.kind'], [{}, 'prefix.files']] as const) {
      write(changes)
      assert.throws(() => loadPrefix(parameters, folder), (error: ModelError) => error.code === code)
    }
    write({ num_virtual_tokens: 4 })
    fs.copyFileSync(path.join(fixture('golden', 'prefix-llama'), 'adapter_model.safetensors'), path.join(folder, 'adapter_model.safetensors'))
    assert.throws(() => loadPrefix(parameters, folder), { code: 'prefix.state' })
    parameters.free()
  }))

  test('a projected prefix is saved as its keys and values, with the network beside', (t) => scope(() => {
    const folder = temporaryFolder(t), parameters = frozen(), adapter = attachPrefix(parameters, { tokens: 3, hidden: 12 }, { seed: 2 })
    const embeddings = adapter.embeddings().toFloat32Array(), past = (parameters.adapter!.prefix!.past.value as Tensor).toFloat32Array()
    assert.deepEqual(embeddings, past)
    savePrefix(adapter, parameters, folder, 'base')
    adapter.free()
    const again = loadPrefix(parameters, folder)
    assert.equal(again.config.hidden, 12)
    assert.deepEqual(again.embeddings().toFloat32Array(), embeddings)
    again.free()
    fs.rmSync(path.join(folder, 'prefix_encoder.safetensors'))
    const plain = loadPrefix(parameters, folder)
    assert.equal(plain.config.hidden, null)
    assert.deepEqual(plain.embeddings().toFloat32Array(), embeddings)
    parameters.free()
  }))
})
