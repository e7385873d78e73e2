import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { test } from 'node:test'
import { ops, scope, setThreads, type Tensor } from 'fettle-native'
import { packBatch, type Batch } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights, readSafetensors } from 'fettle/dist/models/weights'
import { defaultPlan } from 'fettle/dist/plan/defaults'
import { AdamW } from 'fettle/dist/train/optimizer'
import { learningRateAt } from 'fettle/dist/train/schedule'
import { trainStep } from 'fettle/dist/train/step'
import { fixture } from '../../support/paths'

/** The reference pads on the right; packed, the same rows without their padding. */
function rowsOf(io: Map<string, Tensor>, step: number): Batch {
  const take = (name: string): number[][] => scope(() => {
    const part = ops.select(io.get(`batches.${name}`)!, 0, step), [rows, length] = part.shape, flat = part.toArray()
    return Array.from({ length: rows }, (_, r) => flat.slice(r * length, (r + 1) * length))
  })
  const ids = take('input_ids'), labels = take('labels'), masks = take('attention_mask')
  const real = (row: number[], r: number): number[] => row.filter((_, t) => masks[r][t] === 1)
  return packBatch(ids.map((row, r) => ({ inputIds: real(row, r), labels: real(labels[r], r) })))
}

/** How a case was trained, as its reference.json says. */
interface Made { readonly model: string; readonly steps: number; readonly warmup: number; readonly lr: number; readonly wd: number }

const forms = [{ blocks: 'plain', recompute: false }, { blocks: 'plain', recompute: true }, { blocks: 'auto', recompute: false }, { blocks: 'auto', recompute: true }] as const
for (const name of ['sft-llama', 'sft-bloom'])
  for (const { blocks, recompute } of forms) {
    test(`full training follows transformers (${name}), ${blocks === 'auto' ? 'fused' : 'plain'} blocks${recompute ? ', with recompute' : ''}`, () => {
      setThreads(1)
      const { case: made } = JSON.parse(fs.readFileSync(fixture('golden', name, 'reference.json'), 'utf8')) as { case: Made }
      const io = readSafetensors(fixture('golden', name, 'io.safetensors'))
      const parameters = loadParameters(openWeights(fixture('golden', made.model)), { dtype: 'float32', device: 'cpu', train: true })
      const decoder = new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype: 'float32', blocks }))
      const optimizer = new AdamW(parameters.flat!, { learningRate: made.lr, weightDecay: made.wd, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 })
      const losses = io.get('losses')!.toArray(), norms = io.get('grad_norms')!.toArray()
      for (let step = 0; step < made.steps; step++) {
        const learningRate = learningRateAt({ ...defaultPlan('').schedule, warmupSteps: made.warmup }, made.lr, step, made.steps)
        const result = scope(() => trainStep(decoder, optimizer, [rowsOf(io, step)], { learningRate, maxGradNorm: 1, dropout: false, recompute }))
        assert.ok(Math.abs(result.loss - losses[step]) < 1e-4, `loss of step ${step}: ${result.loss}, reference ${losses[step]}`)
        assert.ok(Math.abs(result.gradNorm / norms[step] - 1) < 1e-3, `gradient norm of step ${step}: ${result.gradNorm}, reference ${norms[step]}`)
      }
      scope(() => {
        for (const { name: weight, value } of parameters.named()) {
          const error = ops.max(ops.abs(ops.sub(value, io.get(`final.${weight}`)!))).item()
          assert.ok(error < 1e-4, `final ${weight} is off by ${error}`)
        }
      })
      optimizer.free()
      decoder.free()
      parameters.free()
    })
  }
