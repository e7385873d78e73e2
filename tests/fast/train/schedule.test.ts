import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultPlan } from 'fettle/dist/plan/defaults'
import type { SchedulePlan } from 'fettle/dist/plan/plan'
import { learningRateAt, warmupSteps } from 'fettle/dist/train/schedule'

const plan = (type: SchedulePlan['type'], steps = 0, ratio = 0): SchedulePlan => ({ ...defaultPlan('').schedule, type, warmupSteps: steps, warmupRatio: ratio })
const curve = (schedule: SchedulePlan, total: number): number[] => Array.from({ length: total }, (_, i) => learningRateAt(schedule, 1, i, total))
function close(actual: number[], expected: number[]): void {
  assert.equal(actual.length, expected.length)
  actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-12, `step ${i}: ${value} against ${expected[i]}`))
}

// Values of transformers 5.23.0, get_*_schedule_with_warmup(optimizer, …).lr_lambdas[0](i).
test('linear: warm-up from 0, then to 0 at the total', () => {
  close(curve(plan('linear', 2), 10), [0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
  close(curve(plan('linear'), 4), [1, 0.75, 0.5, 0.25])
})
test('cosine: half a wave after warm-up', () => {
  close(curve(plan('cosine', 2), 10), [
    0, 0.5, 1, 0.9619397662556434, 0.8535533905932737, 0.6913417161825449, 0.5, 0.3086582838174552, 0.14644660940672627, 0.03806023374435663])
})
test('cosine with another number of waves', () => {
  const rates = (cycles: number, warmup: number, total: number): number[] => Array.from({ length: total }, (_, i) => learningRateAt({ ...plan('cosine', warmup), cycles }, 1e-3, i, total))
  close(rates(1.5, 2, 8), [0, 0.0005, 0.001, 0.0005, 0, 0.0005, 0.001, 0.0005])
  close(rates(1, 0, 6), [0.001, 0.00075, 0.00025, 0, 0.00025, 0.00075])
})
// Values of transformers 5.23.0, get_polynomial_decay_schedule_with_warmup, at a learning rate of 1e-3.
test('polynomial: a power down to its end', () => {
  const rates = (endRate: number, power: number, warmup: number, total: number): number[] => Array.from({ length: total + 2 }, (_, i) => learningRateAt({ ...plan('polynomial', warmup), endRate, power }, 1e-3, i, total))
  close(rates(1e-7, 1, 2, 8), [0, 0.0005, 0.001, 0.00083335, 0.0006667, 0.00050005, 0.0003334, 0.00016675, 1e-7, 1e-7])
  close(rates(1e-4, 2, 2, 8), [0, 0.0005, 0.001, 0.000725, 0.0005, 0.000325, 0.0002, 0.000125, 0.0001, 0.0001])
  close(rates(0, 0.5, 0, 6), [0.001, 0.000912870929175277, 0.0008164965809277261, 0.0007071067811865476, 0.0005773502691896259, 0.000408248290463863, 0, 0])
  assert.equal(learningRateAt({ ...plan('polynomial'), endRate: 1e-4 }, 1e-5, 3, 6), 1e-5)
})
test('constant and constant_with_warmup', () => {
  close(curve(plan('constant', 3), 4), [1, 1, 1, 1])
  close(curve(plan('constant_with_warmup', 4), 6), [0, 0.25, 0.5, 0.75, 1, 1])
})
test('warm-up steps win over the ratio, which rounds up', () => {
  assert.equal(warmupSteps(plan('linear', 0, 0.1), 101), 11)
  assert.equal(warmupSteps(plan('linear', 5, 0.5), 100), 5)
  assert.equal(learningRateAt(plan('linear', 0, 0.5), 2e-4, 1, 4), 1e-4)
})
test('beyond the total nothing rises again', () => {
  assert.equal(learningRateAt(plan('linear', 2), 1, 12, 10), 0)
  assert.equal(learningRateAt(plan('constant_with_warmup', 2), 1, 12, 10), 1)
})
