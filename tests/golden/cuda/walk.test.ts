import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { cudaKernels, manualSeed, noGrad, ops, scope, setThreads, type Tensor } from 'fettle-native'
import { attachLora } from 'fettle/dist/adapters/lora'
import { loraConfig } from 'fettle/dist/adapters/lora-config'
import { packBatch } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import type { Blocks } from 'fettle/dist/models/blocks/types'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { walk, type Recompute } from 'fettle/dist/train/walk'
import { fixture } from '../../support/paths'
import { simulateKernels } from '../../support/simulate'
import { randomRows } from '../../support/trainer'
import { difference } from '../../fast/kernels/support'
import { simulatedBlocks } from '../../fast/cuda/support'

before(() => { simulateKernels(); setThreads(1) })

interface Case { readonly model: string; readonly lora: boolean; readonly dropout?: number; readonly recompute?: Recompute }

/** Rows of a model's vocabulary; the golden ChatGLM's prompts end with its tokens 381 and 384. */
function rowsFor(seed: number, vocabulary: number, prompted: boolean): { inputIds: number[]; labels: number[] }[] {
  return randomRows(1 + seed, seed).map(({ inputIds, labels }) => {
    const ids = Array.from(inputIds, (id) => 3 + (id % (vocabulary - 3)))
    return prompted ? { inputIds: [...ids.slice(0, 3), 381, 384, ...ids.slice(3)], labels: [-100, -100, -100, -100, -100, ...ids.slice(3)] } : { inputIds: ids, labels: Array.from(labels, (label, t) => (label === -100 ? -100 : ids[t])) }
  })
}

function gradient(blocks: Blocks, { model, lora, dropout = 0, recompute = false }: Case): { loss: number; grad: Tensor } {
  const parameters = loadParameters(openWeights(fixture('golden', model)), { dtype: 'float32', device: 'cpu', train: !lora })
  if (lora) attachLora(parameters, loraConfig({ rank: 4, alpha: 8, dropout }), { seed: 3 })
  const flat = parameters.flat!
  // A fresh adapter's B is zero, and A's gradient with it.
  if (lora) for (const { master } of flat.weights) ops.add_(master!, 0.02)
  const decoder = new Decoder(parameters, blocks)
  decoder.weightsChanged()
  manualSeed(7)
  let loss = 0
  const { prompt, vocabSize } = parameters.architecture
  for (const batch of [1, 2].map((seed) => packBatch(rowsFor(seed, vocabSize, prompt !== null), 'cpu', prompt)))
    loss += walk(decoder, batch, { scale: 0.01, dropout: dropout > 0, recompute }).lossSum.item()
  const grad = ops.clone(flat.grad)
  decoder.free()
  parameters.free()
  return { loss, grad }
}

const cases: readonly Case[] = [
  { model: 'llama-v2-gqa', lora: true }, { model: 'llama-v2-gqa', lora: false }, { model: 'llama-v2-gqa', lora: true, recompute: true }, { model: 'llama-v2-gqa', lora: true, recompute: 'attention' },
  { model: 'bloom', lora: false }, { model: 'opt-350m-style', lora: true }, { model: 'chatglm2-6b', lora: false }, { model: 'chatglm-6b', lora: true },
  { model: 'gemma', lora: false }, { model: 'mistral-window', lora: true }, { model: 'glm4-9b-style', lora: false },
]

for (const c of cases)
  test(`a walk in the form for GPUs, simulated, equals the plain form: ${c.model}, ${c.lora ? 'LoRA' : 'all weights'}${c.recompute ? `, recompute ${c.recompute}` : ''}`, () => noGrad(() => scope(() => {
    const plain = gradient(plainBlocks(), c), cuda = gradient(simulatedBlocks(), c)
    assert.ok(Math.abs(cuda.loss / plain.loss - 1) < 1e-5, `loss ${cuda.loss}, plain ${plain.loss}`)
    assert.ok(difference(cuda.grad, plain.grad) < 2e-5, `gradient differs by ${difference(cuda.grad, plain.grad)}`)
  })))

test('adapter dropout drops the same inputs when a layer runs again', () => noGrad(() => scope(() => {
  const c = { model: 'llama-v2-gqa', lora: true, dropout: 0.3 }, kept = gradient(simulatedBlocks(), c), again = gradient(simulatedBlocks(), { ...c, recompute: true })
  assert.ok(difference(again.grad, kept.grad) < 1e-6)
  const none = gradient(simulatedBlocks(), { ...c, dropout: 0 })
  assert.ok(difference(none.grad, kept.grad) > 1e-3, 'dropout changes the gradient')
})))

test('on a machine without a GPU the plain form is chosen for cuda', { skip: cudaKernels().obstacle === null ? 'there is a GPU' : false }, () => assert.equal(chooseBlocks({ device: 'cuda:7', dtype: 'bfloat16', blocks: 'auto' }).form, 'plain'))
