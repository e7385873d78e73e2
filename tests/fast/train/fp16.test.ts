import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { test } from 'node:test'
import { scope } from 'fettle-native'
import { LossScale } from 'fettle/dist/train/loss-scale'
import { changes, fp16, methods } from '../../support/fp16'
import { temporaryFolder } from '../../support/tiny'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan } from '../../support/trainer'

const weights = (trainer: ReturnType<typeof tinyTrainer>): number[] => scope(() => trainer.parameters.flat!.master.toArray())

test('recompute changes nothing in fp16', () => {
  for (const level of ['O1', 'O2'] as const) {
    const [kept, again, half] = ([false, true, 'attention'] as const).map((recompute) => {
      const trainer = tinyTrainer(trainerPlan({ ...changes, ...fp16(level) }), memoryRows(randomRows(12)), { recompute })
      for (let i = 0; i < 3; i++) trainer.next()
      const values = weights(trainer)
      freeTrainer(trainer)
      return values
    })
    assert.deepEqual(again, kept)
    assert.deepEqual(half, kept)
  }
})

test('a gradient beyond a half: the step is left out and the scale halves, until it fits', () => {
  const trainer = tinyTrainer(trainerPlan({ ...changes, steps: 100, ...fp16('O2', 2 ** 40) }), memoryRows(randomRows(12))), before = weights(trainer)
  const first = trainer.next()
  assert.deepEqual([first.outcome, first.lossScale, trainer.lossScale!.value], ['overflow', 2 ** 40, 2 ** 39])
  assert.deepEqual(weights(trainer), before)
  assert.equal(trainer.optimizer.updates, 0)
  let steps = 1
  while (trainer.next().outcome === 'overflow') steps++
  assert.equal(trainer.lossScale!.value, 2 ** (40 - steps))
  assert.equal(trainer.optimizer.updates, 1)
  assert.notDeepEqual(weights(trainer), before)
  freeTrainer(trainer)
})

test('a scale grows after good steps, and where none is found the run ends', () => {
  const scale = new LossScale(8, 3)
  for (let i = 0; i < 3; i++) scale.succeeded()
  assert.deepEqual(scale.state, { scale: 16, good: 0 })
  scale.succeeded()
  for (let i = 0; i < 4; i++) scale.overflowed(i)
  assert.deepEqual(scale.state, { scale: 1, good: 0 })
  assert.throws(() => scale.overflowed(9), (error: { name: string; code: string; message: string }) => {
    assert.deepEqual([error.name, error.code], ['TrainingError', 'train.loss-scale'])
    assert.match(error.message, /step 9.*bf16/)
    return true
  })
})

for (const level of ['O1', 'O2'] as const) {
  for (const [name, method] of methods) {
    test(`a resume has the scale that the run had, and goes on bit for bit: ${name}, ${level}`, (t) => {
      const plan = trainerPlan({ ...changes, ...method, ...fp16(level, 2 ** 30) }), rows = memoryRows(randomRows(12)), folder = temporaryFolder(t)
      const straight = tinyTrainer(plan, rows)
      for (let i = 0; i < 4; i++) straight.next()
      straight.write(folder)
      assert.ok(fs.existsSync(folder))
      const state = straight.lossScale!.state
      const after = Array.from({ length: 4 }, () => straight.next())
      const resumed = tinyTrainer(plan, rows)
      resumed.restore(folder)
      assert.deepEqual(resumed.lossScale!.state, state)
      assert.deepEqual(Array.from({ length: 4 }, () => resumed.next()), after)
      assert.deepEqual(weights(resumed), weights(straight))
      freeTrainer(straight)
      freeTrainer(resumed)
    })
  }
}
