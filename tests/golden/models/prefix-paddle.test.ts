import * as assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ops, scope, type Tensor } from 'fettle-native'
import { loadPrefix } from 'fettle/dist/adapters/prefix-files'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { generate } from 'fettle/dist/train/generate'
import { trace } from 'fettle/dist/train/trace'
import { inputsOf } from '../../support/family'
import { baseOf, goldenCase, gradientError, largestDifference, need } from '../../support/golden'

/** PaddleNLP's Sequential by our names; linear layers are [in, out] there, and keys come before values. */
const names: Readonly<Record<string, string>> = { '1.weight': 'prompt_encoder.transform.0.weight', '1.bias': 'prompt_encoder.transform.0.bias', '3.weight': 'prompt_encoder.transform.2.weight', '3.bias': 'prompt_encoder.transform.2.bias' }

const blocksOf = (blocks: 'plain' | 'auto') => () => chooseBlocks({ device: 'cpu', dtype: 'float32', blocks })

/** [.., 2, layers, width] → [.., layers, 2, width] */
function alternate(value: Tensor, layers: number): Tensor {
  const front = value.shape.slice(0, -1), width = value.shape.at(-1)! / (2 * layers)
  return ops.reshape(ops.transpose(ops.reshape(value, [...front, 2, layers, width]), front.length, front.length + 1), value.shape)
}

/** PaddleNLP's gradient in our layout, beside our name. */
function converted(name: string, value: Tensor, projected: boolean, layers: number): [string, Tensor] {
  if (name === '0.weight') return projected ? ['prompt_encoder.embedding.weight', value] : ['prompt_embeddings', alternate(value, layers)]
  const own = name.startsWith('3') ? alternate(value, layers) : value
  return [names[name], name.endsWith('weight') ? ops.contiguous(ops.t(own)) : own]
}

for (const name of ['prefix-chatglm', 'prefix-chatglm2', 'prefix-chatglm2-projection', 'prefix-qwen']) {
  describe(`${name} is what PaddleNLP computes`, () => {
    for (const blocks of ['plain', 'auto'] as const) test(`padded batch: logits, loss, gradients (${blocks} blocks)`, () => scope(() => {
      const { folder, io } = goldenCase(name), grads = [...io.keys()].filter((key) => key.startsWith('grad.')).map((key) => key.slice('grad.'.length))
      const layers = openWeights(baseOf(name)).config['num_layers'] ?? openWeights(baseOf(name)).config['num_hidden_layers']
      const pairs = grads.map((key) => converted(key, need(io, `grad.${key}`), grads.length > 1, layers as number))
      const result = trace({ model: baseOf(name), adapter: folder, inputs: inputsOf(io, 'batch'), grads: pairs.map(([own]) => own), blocks: blocksOf(blocks) })
      const logits = largestDifference(need(result, 'logits'), need(io, 'batch.logits')), loss = largestDifference(need(result, 'loss'), need(io, 'batch.loss'))
      assert.ok(logits <= 1e-4, `logits are off by ${logits}`)
      assert.ok(loss <= 1e-5, `loss is off by ${loss}`)
      const worst = gradientError(pairs.map(([own, reference]) => ({ name: own, seen: need(result, `grad.${own}`), reference })))
      assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
      const single = trace({ model: baseOf(name), adapter: folder, inputs: new Map([['input_ids', need(io, 'single.input_ids')]]), blocks: blocksOf(blocks) })
      const off = largestDifference(need(single, 'logits'), need(io, 'single.logits'))
      assert.ok(off <= 1e-4, `logits of one row are off by ${off}`)
    }))

    test('greedy continuation with a cache, alone and beside another prompt', () => scope(() => {
      const { folder, io } = goldenCase(name), prompt = need(io, 'generate.prompt_ids').toArray(), expected = need(io, 'generate.new_ids').toArray()
      const parameters = loadParameters(openWeights(baseOf(name)), { dtype: 'float32', device: 'cpu', train: false })
      loadPrefix(parameters, folder)
      const decoder = new Decoder(parameters, blocksOf('plain')())
      const options = { maxNewTokens: 16, minNewTokens: 16, temperature: 0, stopIds: [] }
      assert.deepEqual(generate(decoder, [prompt], options), [expected])
      assert.deepEqual(generate(decoder, [prompt.slice(3), prompt], options)[1], expected)
      decoder.free()
      parameters.free()
    }))
  })
}
