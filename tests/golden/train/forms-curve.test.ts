import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { call } from 'fettle-native'
import { defaultLora } from 'fettle/dist/plan/defaults'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan, type PlanChanges } from '../../support/trainer'

const steps = 200, rows = memoryRows(randomRows(24))
const optimizer = { learningRate: 3e-4, weightDecay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 }

function curve(golden: string, blocks: 'auto' | 'plain', changes: PlanChanges): number[] {
  const trainer = tinyTrainer(trainerPlan({ optimizer, batch: { size: 6, evalSize: 6, accumulate: 1, tokens: null }, steps, ...changes }), rows, { golden, blocks })
  const losses = Array.from({ length: steps }, () => trainer.next().loss)
  freeTrainer(trainer)
  return losses
}

const distance = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, loss, i) => sum + Math.abs(loss - b[i]), 0) / a.length

after(() => call('fettle::use_kernels', '', 'auto', 'auto'))
const lora: PlanChanges = { method: 'lora', lora: { ...defaultLora, rank: 4, alpha: 8 }, optimizer: { ...optimizer, learningRate: 3e-3 } }
const cases: readonly (readonly [golden: string, name: string, method: PlanChanges])[] = [
  ...['llama-v2-gqa', 'bloom', 'opt-125m-style', 'chatglm2-6b', 'qwen-7b'].map((golden) => [golden, 'all weights', {}] as const), ['llama-v2-gqa', 'LoRA', lora],
]
for (const [golden, name, method] of cases)
  test(`${steps} steps: losses of fused blocks are those of plain ones, in bf16 within its noise: ${golden}, ${name}`, () => {
    const exact = curve(golden, 'plain', method), noise = distance(curve(golden, 'plain', { ...method, precision: 'bf16' }), exact)
    assert.ok(exact[steps - 1] < 0.95 * exact[0] && noise > 0, `the loss falls from ${exact[0]} to ${exact[steps - 1]}, bf16 differs by ${noise}`)
    const fused = distance(curve(golden, 'auto', method), exact)
    assert.ok(fused < 0.25 * noise, `fp32 differs by ${fused} on average, bf16 of plain blocks by ${noise}`)
    for (const products of ['own', 'emulated']) {
      call('fettle::use_kernels', '', 'auto', products)
      const half = distance(curve(golden, 'auto', { ...method, precision: 'bf16' }), exact)
      assert.ok(half < 1.5 * noise, `bf16 (${products}) differs by ${half} on average, that of plain blocks by ${noise}`)
    }
  })
