import * as assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { scope } from 'fettle-native'
import { attachLora } from 'fettle/dist/adapters/lora'
import { loraConfig } from 'fettle/dist/adapters/lora-config'
import { packBatch } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { Random } from 'fettle/dist/models/random'
import { openWeights } from 'fettle/dist/models/weights'
import { generate } from 'fettle/dist/train/generate'
import { ops } from 'fettle-native'
import { fixture } from '../../support/paths'

const ids = [5, 17, 9, 200, 31, 44, 7]

function open(dtype: 'float32' | 'bfloat16', blocks: 'auto' | 'plain', lora: { readonly decomposed: boolean } | null): Decoder {
  const parameters = loadParameters(openWeights(fixture('golden', 'llama-v2-gqa')), { dtype, device: 'cpu', train: false })
  if (lora !== null) {
    const adapter = attachLora(parameters, loraConfig({ rank: 4, alpha: 32, ...lora }), { seed: 1 })
    const random = new Random(3)
    // B is zero at first: without this the adapter would change nothing.
    scope(() => { for (const { name, master } of adapter.named()) if (name.includes('lora_B')) ops.copy_(master!, ops.mul(ops.ones_like(master!), random.uniform())) })
    parameters.sync()
  }
  return new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype, blocks }))
}

function logits(decoder: Decoder, adapter: boolean): number[] {
  return scope(() => {
    const batch = packBatch([{ inputIds: ids }]), context = decoder.context(batch, { mode: 'infer', adapter })
    return [...decoder.headLogits(decoder.hidden(batch, context), context).toFloat32Array()]
  })
}

describe('a model with its adapter left out', () => {
  for (const [dtype, blocks, decomposed] of [['float32', 'plain', false], ['float32', 'auto', false], ['bfloat16', 'auto', false], ['float32', 'auto', true]] as const) {
    test(`is the untouched model to the last bit: ${dtype}, blocks ${blocks}${decomposed ? ', DoRA' : ''}`, () => {
      const plain = open(dtype, blocks, null), adapted = open(dtype, blocks, { decomposed })
      const untouched = logits(plain, true)
      assert.notDeepEqual(logits(adapted, true), untouched)
      assert.deepEqual(logits(adapted, false), untouched)
      const options = { maxNewTokens: 12, stopIds: [] }
      assert.deepEqual(generate(adapted, [ids, [44]], { ...options, adapter: false }), generate(plain, [ids, [44]], options))
      assert.notDeepEqual(generate(adapted, [ids], options), generate(plain, [ids], options))
      for (const decoder of [plain, adapted]) { decoder.free(); decoder.parameters.free() }
    })
  }
})
