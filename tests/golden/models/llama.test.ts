import * as assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { scope, tensor, type Tensor } from 'fettle-native'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { generate } from 'fettle/dist/train/generate'
import { trace } from 'fettle/dist/train/trace'
import { goldenCase, gradientError, largestDifference, need } from '../../support/golden'

const cases = ['llama-v1-mha', 'llama-v2-gqa', 'llama-tied-smollm', 'llama3-rope-scaled', 'llama-biases', 'llama-head-dim', 'llama-rope-linear', 'llama-rope-dynamic']

for (const name of cases) {
  describe(`${name} is what transformers computes`, () => {
    test('padded batch: logits, loss, gradients', () => scope(() => {
      const { folder, io } = goldenCase(name)
      const inputs = new Map(['input_ids', 'attention_mask', 'labels'].map((key) => [key, need(io, `batch.${key}`)]))
      const grads = [...io.keys()].filter((key) => key.startsWith('grad.')).map((key) => key.slice('grad.'.length))
      const result = trace({ model: folder, inputs, grads })
      assert.ok(largestDifference(need(result, 'logits'), need(io, 'batch.logits')) <= 1e-4)
      assert.ok(largestDifference(need(result, 'loss'), need(io, 'batch.loss')) <= 1e-5)
      const worst = gradientError(grads.map((grad) => ({ name: grad, seen: need(result, `grad.${grad}`), reference: need(io, `grad.${grad}`) })))
      assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
    }))

    test('one row without padding', () => scope(() => {
      const { folder, io } = goldenCase(name)
      const result = trace({ model: folder, inputs: new Map([['input_ids', need(io, 'single.input_ids')]]) })
      assert.ok(largestDifference(need(result, 'logits'), need(io, 'single.logits')) <= 1e-4)
    }))

    test('greedy continuation, alone and beside other prompts', () => scope(() => {
      const { folder, io } = goldenCase(name)
      const parameters = loadParameters(openWeights(folder), { dtype: 'float32', device: 'cpu', train: false })
      const decoder = new Decoder(parameters, plainBlocks())
      const ids = (key: string): number[] => need(io, key).toArray()
      const prompt = ids('generate.prompt_ids'), expected = ids('generate.new_ids')
      const options = { maxNewTokens: 16, minNewTokens: 16, temperature: 0 }
      assert.deepEqual(generate(decoder, [prompt], options), [expected])
      assert.deepEqual(generate(decoder, [prompt.slice(0, 3), prompt], options)[1], expected)
      decoder.free()
      parameters.free()
    }))
  })
}

describe('padding', () => {
  const shifted = (value: Tensor, rows: number, length: number, hidden: readonly number[], pad: number): number[][] =>
    Array.from({ length: rows }, (_, row) => {
      const line = value.toArray().slice(row * length, (row + 1) * length)
      return [...Array.from({ length: hidden[row] }, () => pad), ...line.slice(0, length - hidden[row])]
    })

  test('on the left gives what it gives on the right', () => scope(() => {
    const { folder, io } = goldenCase('llama-v2-gqa')
    const right = new Map(['input_ids', 'attention_mask', 'labels'].map((key) => [key, need(io, `batch.${key}`)]))
    const [rows, length] = need(right, 'input_ids').shape
    const mask = need(right, 'attention_mask').toArray()
    const hidden = Array.from({ length: rows }, (_, row) => mask.slice(row * length, (row + 1) * length).filter((seen) => seen === 0).length)
    const left = new Map([...right].map(([key, value]) => {
      const moved = shifted(value, rows, length, hidden, key === 'labels' ? -100 : 0)
      return [key, tensor(moved.flat().map(BigInt), [rows, length])] as const
    }))
    const a = trace({ model: folder, inputs: right, grads: 'all' }), b = trace({ model: folder, inputs: left, grads: 'all' })
    assert.ok(largestDifference(need(a, 'loss'), need(b, 'loss')) <= 1e-5)
    const names = [...a.keys()].filter((key) => key.startsWith('grad.'))
    assert.equal(names.length, 30)
    const worst = gradientError(names.map((name) => ({ name, seen: need(b, name), reference: need(a, name) })))
    assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
    const vocab = need(a, 'logits').shape[2], x = need(a, 'logits').toFloat32Array(), y = need(b, 'logits').toFloat32Array()
    for (let row = 0; row < rows; row++)
      for (let t = 0; t < length - hidden[row]; t++)
        for (let v = 0; v < vocab; v += 7)
          assert.ok(Math.abs(x[(row * length + t) * vocab + v] - y[(row * length + t + hidden[row]) * vocab + v]) <= 1e-4)
    assert.ok(y.every(Number.isFinite))
  }))
})
