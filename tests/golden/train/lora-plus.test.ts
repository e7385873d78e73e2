import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { noGrad, scope, setThreads, type Tensor } from 'fettle-native'
import { loadLora } from 'fettle/dist/adapters/peft'
import { packBatch } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { AdamW } from 'fettle/dist/train/optimizer'
import { trainStep } from 'fettle/dist/train/step'
import { baseOf, goldenCase, largestDifference, need } from '../../support/golden'

function rows(tensor: Tensor): number[][] {
  const [count, length] = tensor.shape, flat = tensor.toArray()
  return Array.from({ length: count }, (_, r) => flat.slice(r * length, (r + 1) * length))
}

for (const blocks of ['plain', 'auto'] as const)
  test(`LoRA+ with DoRA is what PEFT's optimizer makes of three steps (${blocks} blocks)`, () => scope(() => {
    setThreads(1)
    const { folder, io } = goldenCase('loraplus-dora')
    const { case: made } = JSON.parse(fs.readFileSync(path.join(folder, 'reference.json'), 'utf8')) as { case: { lr: number; wd: number; ratio: number } }
    const parameters = noGrad(() => loadParameters(openWeights(baseOf('loraplus-dora')), { dtype: 'float32', device: 'cpu', train: false }))
    const adapter = loadLora(parameters, folder), decoder = new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype: 'float32', blocks }))
    const optimizer = new AdamW(parameters.flat!, { learningRate: made.lr, weightDecay: made.wd, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 0 }, made.ratio)
    const [ids, labels, masks] = ['input_ids', 'labels', 'attention_mask'].map((name) => rows(need(io, name)))
    const real = (row: number[], r: number): number[] => row.filter((_, t) => masks[r][t] === 1)
    const batch = packBatch(ids.map((row, r) => ({ inputIds: real(row, r), labels: real(labels[r], r) })))
    for (const reference of need(io, 'losses').toArray()) {
      const { loss } = trainStep(decoder, optimizer, [batch], { learningRate: made.lr, maxGradNorm: 0, dropout: false, recompute: false })
      assert.ok(Math.abs(loss - reference) < 1e-5, `${loss} against ${reference}`)
    }
    const after = adapter.state()
    for (const [name, value] of io) {
      if (!name.startsWith('after.')) continue
      const own = name.slice('after.'.length).replace('.default.weight', name.includes('magnitude') ? '' : '.weight')
      assert.ok(largestDifference(need(after, own), value) <= 1e-4, own)
    }
    optimizer.free()
    decoder.free()
    parameters.free()
  }))
