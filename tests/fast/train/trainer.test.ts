import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualSeed, memory, ops, scope } from 'fettle-native'
import type { Row } from 'fettle/dist/data/dataset'
import { defaultLora } from 'fettle/dist/plan/defaults'
import type { LoraPlan, Plan } from 'fettle/dist/plan/plan'
import { evaluateRows } from 'fettle/dist/train/evaluate'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan } from '../../support/trainer'

const optimizer: Plan['optimizer'] = { learningRate: 1e-3, weightDecay: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 }
const batch = (size: number, accumulate: number): Plan['batch'] => ({ size, evalSize: 4, accumulate, tokens: null })
const lora: LoraPlan = { ...defaultLora, rank: 4, alpha: 8 }

test('the loss does not depend on how a window is cut: 4 = 2 × 2 = 4 × 1, the shorter last window too', () => {
  const rows = memoryRows(randomRows(7))
  const runs = [[4, 1], [2, 2], [1, 4]].map(([size, accumulate]) => {
    const trainer = tinyTrainer(trainerPlan({ optimizer, batch: batch(size, accumulate), steps: 4 }), rows)
    const steps = Array.from({ length: 4 }, () => trainer.next())
    const weights = scope(() => trainer.parameters.flat!.master.toArray())
    freeTrainer(trainer)
    return { steps, weights }
  })
  for (const run of runs.slice(1)) {
    run.steps.forEach((step, i) => {
      assert.ok(Math.abs(step.loss - runs[0].steps[i].loss) < 1e-5, `loss ${step.loss} against ${runs[0].steps[i].loss}`)
      assert.ok(Math.abs(step.gradNorm / runs[0].steps[i].gradNorm - 1) < 1e-4)
      assert.equal(step.supervised, runs[0].steps[i].supervised)
    })
    const far = run.weights.reduce((most, value, i) => Math.max(most, Math.abs(value - runs[0].weights[i])), 0)
    // Adam divides by the gradient's own size: where that is rounding noise, its sign is too.
    assert.ok(far < 4e-3, `weights differ by ${far}`)
    const mean = run.weights.reduce((sum, value, i) => sum + Math.abs(value - runs[0].weights[i]), 0) / run.weights.length
    assert.ok(mean < 1e-6, `weights differ by ${mean} on average`)
  }
})

test('a micro-batch without labels adds nothing; a window without any changes nothing and divides by nothing', () => {
  const mute = (row: Row): Row => ({ ...row, labels: row.labels.map(() => -100) })
  const [a, b, c, d] = randomRows(4)
  const plan = trainerPlan({ optimizer, batch: batch(1, 2), steps: 3 })
  const trainer = tinyTrainer(plan, memoryRows([a, mute(b), mute(c), mute(d)]))
  const first = trainer.next()
  assert.equal(first.outcome, 'updated')
  const before = scope(() => trainer.parameters.flat!.master.toArray())
  const second = trainer.next()
  assert.equal(second.outcome, 'no-labels')
  assert.deepEqual([second.supervised, second.gradNorm], [0, 0])
  assert.deepEqual(scope(() => trainer.parameters.flat!.master.toArray()), before)
  assert.equal(trainer.next().outcome, 'updated')
  assert.equal(trainer.optimizer.updates, 2)
  freeTrainer(trainer)
})

test('a loss that is not finite leaves the weights alone, and ends training at the third in a row', () => {
  const trainer = tinyTrainer(trainerPlan({ optimizer, batch: batch(2, 1), steps: 5 }), memoryRows(randomRows(8)))
  const { master } = trainer.parameters.flat!
  scope(() => ops.fill_(ops.narrow(master, 0, 0, 64 * 320), Infinity))
  const before = scope(() => ops.narrow(master, 0, 64 * 320, 1000).toArray())
  assert.equal(trainer.next().outcome, 'not-finite')
  assert.equal(trainer.next().outcome, 'not-finite')
  assert.throws(() => trainer.next(), { name: 'TrainingError', code: 'train.not-finite' })
  assert.deepEqual(scope(() => ops.narrow(master, 0, 64 * 320, 1000).toArray()), before)
  freeTrainer(trainer)
})

test('batches made before their step are those that it would make, noise included, and leave nothing behind', () => {
  const before = memory().liveTensors
  const [early, late] = [true, false].map((ahead) => {
    const trainer = tinyTrainer(trainerPlan({ optimizer, batch: batch(2, 2), steps: 5, neftune: 5 }), memoryRows(randomRows(9)))
    const losses = Array.from({ length: 5 }, (_, step) => {
      // The first call is for a step that never comes.
      if (ahead) [step + 3, step].forEach((each) => trainer.prepare(each))
      return trainer.next().loss
    })
    if (ahead) trainer.prepare(0)
    freeTrainer(trainer)
    return losses
  })
  assert.deepEqual(early, late)
  assert.equal(memory().liveTensors, before)
})

for (const again of [true, 'attention'] as const) test(`recompute gives the same steps, dropout included: ${again}`, () => {
  const plan = trainerPlan({ method: 'lora', lora: { ...lora, dropout: 0.3 }, optimizer, batch: batch(3, 2), steps: 3 })
  const runs = [false, again].map((recompute) => {
    const trainer = tinyTrainer(plan, memoryRows(randomRows(9)), { recompute })
    manualSeed(5)
    const steps = [0, 1, 2].map(() => trainer.next())
    const weights = scope(() => trainer.parameters.flat!.master.toArray())
    freeTrainer(trainer)
    return { losses: steps.map((step) => step.loss), weights }
  })
  assert.deepEqual(runs[1], runs[0])
})

test('evaluation weighs by token and does not depend on its batch size', () => {
  const dev = memoryRows(randomRows(5, 9))
  const untrained = tinyTrainer(trainerPlan({ optimizer }), dev)
  const limits = [{ rows: 1 }, { rows: 3 }, { rows: 8 }, { rows: 8, tokens: 25 }, { rows: 8, tokens: 1 }]
  const results = limits.map((limit) => evaluateRows(untrained.parts.decoder, dev, limit))
  freeTrainer(untrained)
  for (const result of results) {
    assert.ok(Math.abs(result.loss - results[0].loss) < 1e-5)
    assert.equal(result.accuracy, results[0].accuracy)
    assert.equal(result.supervised, dev.split.supervised)
    assert.equal(result.perplexity, Math.exp(result.loss))
  }
  // Before any update a step over all rows sees the same loss.
  const trainer = tinyTrainer(trainerPlan({ optimizer, batch: batch(8, 1) }), dev)
  const step = trainer.next()
  assert.ok(Math.abs(step.loss - results[0].loss) < 1e-5)
  assert.equal(step.accuracy, results[0].accuracy)
  freeTrainer(trainer)
})

for (const method of ['sft', 'lora'] as const) {
  test(`steps hold no tensors: ${method}`, () => {
    const plan = trainerPlan({ method, lora: method === 'lora' ? { ...lora, dropout: 0.1 } : null, precision: 'bf16', optimizer, batch: batch(2, 2), steps: 30 })
    const dev = memoryRows(randomRows(3, 4))
    const trainer = tinyTrainer(plan, memoryRows(randomRows(17)))
    trainer.next()
    evaluateRows(trainer.parts.decoder, dev, { rows: 4 })
    const live = memory().liveTensors
    for (let i = 0; i < 10; i++) trainer.next()
    evaluateRows(trainer.parts.decoder, dev, { rows: 4 })
    assert.equal(memory().liveTensors, live)
    freeTrainer(trainer)
  })
}
