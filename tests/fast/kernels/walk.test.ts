import * as assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualSeed, noGrad, ops, scope } from 'fettle-native'
import { attachLora } from 'fettle/dist/adapters/lora'
import { loraConfig } from 'fettle/dist/adapters/lora-config'
import { packBatch, type Batch } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { walk } from 'fettle/dist/train/walk'
import { fixture } from '../../support/paths'
import { randomRows } from '../../support/trainer'
import { difference } from './support'

interface Case { readonly lora: boolean; readonly dropout: number; readonly recompute: boolean | 'attention' }

/** Loss and flat gradient after two micro-batches, the second longer than the first. */
function gradients(blocks: 'auto' | 'plain', c: Case): { loss: number; gradient: ReturnType<typeof ops.clone> } {
  const parameters = loadParameters(openWeights(fixture('golden', 'llama-v2-gqa')), { dtype: 'float32', device: 'cpu', train: !c.lora })
  if (c.lora) attachLora(parameters, loraConfig({ rank: 4, alpha: 8, dropout: c.dropout }), { seed: 3 })
  const flat = parameters.flat!
  // A fresh adapter's B is zero, and A's gradient with it.
  if (c.lora) for (const { master } of flat.weights) ops.add_(master!, 0.02)
  const decoder = new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype: 'float32', blocks }))
  decoder.weightsChanged()
  manualSeed(7)
  const batches: Batch[] = [packBatch(randomRows(3, 1)), packBatch(randomRows(20, 2))]
  let loss = 0
  for (const batch of batches) loss += walk(decoder, batch, { scale: 0.01, dropout: c.dropout > 0, recompute: c.recompute }).lossSum.item()
  const gradient = ops.clone(flat.grad)
  decoder.free()
  parameters.free()
  return { loss, gradient }
}

for (const lora of [true, false])
  for (const dropout of lora ? [0, 0.2] : [0])
    for (const recompute of [false, true, 'attention'] as const)
      test(`a walk in the fused form equals the plain form: ${lora ? `LoRA, dropout ${dropout}` : 'all weights'}${recompute ? `, recompute ${recompute}` : ''}`, () => {
        noGrad(() => scope(() => {
          const plain = gradients('plain', { lora, dropout, recompute }), fused = gradients('auto', { lora, dropout, recompute })
          assert.ok(Math.abs(fused.loss - plain.loss) < 1e-5 * plain.loss, `loss ${fused.loss}, plain ${plain.loss}`)
          assert.ok(difference(fused.gradient, plain.gradient) < 1e-5, `gradient differs by ${difference(fused.gradient, plain.gradient)}`)
        }))
      })

test('the fused form says what it is, and plain is what other devices and a plan may ask for', () => {
  assert.equal(chooseBlocks({ device: 'cpu', dtype: 'bfloat16', blocks: 'auto' }).form, 'fused')
  assert.equal(chooseBlocks({ device: 'cpu', dtype: 'bfloat16', blocks: 'plain' }).form, 'plain')
  assert.equal(chooseBlocks({ device: 'cuda', dtype: 'bfloat16', blocks: 'auto' }).form, 'plain')
})
