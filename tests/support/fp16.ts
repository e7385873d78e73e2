import type { Plan } from 'fettle/dist/plan/plan'
import { defaultLora, defaultPrefix } from 'fettle/dist/plan/defaults'
import type { PlanChanges } from './trainer'

const optimizer: Plan['optimizer'] = { learningRate: 1e-3, weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 }
/** What the tests of fp16 train. */
export const changes: PlanChanges = { optimizer, batch: { size: 3, evalSize: 4, accumulate: 2, tokens: null }, steps: 8 }
export const fp16 = (level: 'O1' | 'O2', lossScale = 32768): PlanChanges => ({ precision: 'fp16', fp16: { level, lossScale } })

/** Methods by name. */
export const methods: readonly (readonly [string, PlanChanges])[] = [
  ['all weights', {}], ['LoRA', { method: 'lora', lora: { ...defaultLora, rank: 4, alpha: 8, dropout: 0 } }],
  ['a prefix', { method: 'prefix', prefix: { ...defaultPrefix, tokens: 5 } }], ['a projected prefix', { method: 'prefix', prefix: { ...defaultPrefix, tokens: 5, projection: true, projectionSize: 24 } }],
]
