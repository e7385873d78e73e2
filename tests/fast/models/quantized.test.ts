import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { memory, ops, scope, tensor } from 'fettle-native'
import { attachLora } from 'fettle/dist/adapters/lora'
import { loraConfigOf } from 'fettle/dist/adapters/lora-config'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { packBatch } from 'fettle/dist/models/batch'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { bytesOf, dequantize, quantize, type Quantization } from 'fettle/dist/models/quantized/codes'
import { Random } from 'fettle/dist/models/random'
import { openWeights } from 'fettle/dist/models/weights'
import { defaultLora } from 'fettle/dist/plan/defaults'
import { walk } from 'fettle/dist/train/walk'
import { fixture } from '../../support/paths'

const plain = (algorithm: Quantization['algorithm'], blockSize = 64): Quantization => ({ algorithm, blockSize, doubleBlockSize: null })

/** Values there and back. */
function through(values: readonly number[], shape: readonly number[], how: Quantization): number[] {
  return scope(() => {
    const out = ops.zeros(shape, { dtype: 'float32' })
    dequantize(quantize(tensor(Float32Array.from(values), shape), how), out)
    return out.toArray()
  })
}

const near = (seen: readonly number[], expected: readonly number[], error = 1e-6): void => seen.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= error, `${i}: ${value}, expected ${expected[i]}`))

describe('weights in few bits', () => {
  test('nf4 is the nearest of the published sixteen values, times the largest magnitude of its block', () => {
    near(through([2, -2, 0, 0.33, -0.7, 1.2, 0.159, 0.1], [1, 8], plain('nf4', 8)), [2, -2, 0, 0.32186040, -0.78983498, 1.1252340, 0.159160599, 0.159160599], 1e-6)
    near(through([1, -0.5, 10, 5], [2, 2], plain('nf4', 2)), [1, -0.5250730514526367, 10, 4.407098293304443])
  })
  test('fp4 has one bit of mantissa', () => near(through([12, -6, 0.05, 3.1, -1.9, 8.2], [1, 6], plain('fp4', 6)), [12, -6, 0.0625, 3, -2, 8]))
  test('whole numbers have a scale a row', () => {
    near(through([127, -64, 1, 0.5, 0.25, -0.5], [2, 3], plain('weight_only_int8')), [127, -64, 1, 0.5, (0.5 * 64) / 127, -0.5])
    near(through([7, -3, 1, 0.7, 0.1, -0.7], [2, 3], plain('weight_only_int4')), [7, -3, 1, 0.7, 0.1, -0.7])
  })
  test('a last block may be short, and blocks of zeros stay zeros', () => {
    near(through([0, 0, 0, 0, 0, 0, 4, -4, 2.3], [3, 3], plain('nf4', 4)), [0, 0, 0, 0, 0, 0, 4, -4, 2.3])
    assert.deepEqual(through([0, 0], [1, 2], plain('weight_only_int8')), [0, 0])
  })
  test('errors and bytes of a normal matrix, with scales in 8 bits too', () => scope(() => {
    const random = new Random(3), values = Float32Array.from({ length: 512 * 256 }, () => random.normal() * 0.02), weight = tensor(values, [512, 256])
    for (const [how, most, bits] of [[plain('nf4'), 0.1, 4.5], [plain('fp4'), 0.14, 4.5], [plain('weight_only_int8'), 0.01, 8.2], [plain('weight_only_int4'), 0.14, 4.2], [{ ...plain('nf4'), doubleBlockSize: 256 }, 0.1, 4.14]] as const) {
      const made = quantize(weight, how), out = ops.zeros([512, 256], { dtype: 'float32' })
      dequantize(made, out)
      const error = ops.linalg_vector_norm(ops.sub(out, weight)).item() / ops.linalg_vector_norm(weight).item()
      assert.ok(error <= most && error > most / 20, `${how.algorithm}: ${error}`)
      assert.ok((bytesOf(made) * 8) / weight.numel <= bits, `${how.algorithm}: ${(bytesOf(made) * 8) / weight.numel} bits`)
    }
  }))
})

for (const blocks of ['plain', 'auto'] as const) {
  test(`a model of quantised layers is the model with those values, forward and backward (${blocks} blocks)`, () => {
    const before = memory().liveTensors
    scope(() => {
      const folder = fixture('golden', 'llama-v2-gqa'), how = plain('nf4', 32)
      const ids = Array.from({ length: 20 }, (_, i) => 5 + ((i * 37) % 200)), batch = packBatch([{ inputIds: ids, labels: ids }, { inputIds: ids.slice(4), labels: ids.slice(4) }])
      const run = (quantized: boolean): { loss: number; grads: Map<string, number[]> } => {
        const parameters = loadParameters(openWeights(folder), { dtype: 'float32', device: 'cpu', train: false, quantize: quantized ? how : null })
        if (!quantized) {
          for (const { key, shape, layer } of parameters.layout) {
            if (layer < 0 || layer >= parameters.architecture.layers || shape.length !== 2) continue
            const out = ops.zeros(shape, { dtype: 'float32' })
            dequantize(quantize(parameters.stored(key).value, how), out)
            parameters.replaceLinear(key.replace('.weight', ''), out)
          }
        }
        attachLora(parameters, loraConfigOf({ ...defaultLora, rank: 4 }), { seed: 1 })
        parameters.adapter!.named().forEach(({ name, master }) => { if (name.includes('lora_B')) ops.fill_(master!, 0.01) })
        parameters.sync()
        const decoder = new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype: 'float32', blocks }))
        const loss = [0, 1].map(() => walk(decoder, batch, { scale: 0.1, recompute: false }).lossSum.item())[1]
        const grads = new Map(parameters.adapter!.named().map(({ name, grad }) => [name, grad!.toArray()]))
        decoder.free()
        parameters.free()
        return { loss, grads }
      }
      const quantized = run(true), whole = run(false)
      assert.ok(Math.abs(quantized.loss / whole.loss - 1) <= 1e-6, `${quantized.loss}, expected ${whole.loss}`)
      for (const [name, grad] of whole.grads) near(quantized.grads.get(name)!, grad, 1e-5)
    })
    assert.equal(memory().liveTensors, before)
  })
}
