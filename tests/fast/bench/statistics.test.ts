import assert from 'node:assert/strict'
import { test } from 'node:test'
import { benchModule, generationRun, trainingRun } from '../../support/bench'

test('a rate is tokens over seconds of the steps after the warm-up, not a mean of rates', async () => {
  const { counted, rate, spread } = await benchModule('statistics.mjs')
  const run = trainingRun('fettle', [9, 9, 9, 1, 3])
  assert.equal(rate(counted(run)), 50)
  assert.equal(rate(counted(run), 'supervised'), 20)
  assert.deepEqual(counted(trainingRun('fettle', [4, 2])).map((s: { step: number }) => s.step), [2])
  assert.deepEqual(spread([3, 1, 2, 10]), { min: 1, median: 2.5, max: 10 })
})

test('ratios are made within a round, over the steps that both sides reached', async () => {
  const { summarize } = await benchModule('statistics.mjs')
  const rounds = [
    [trainingRun('fettle', [1, 1, 1, 1, 1, 1]), trainingRun('peft:best', [2, 2, 2, 2, 8], { peakMiB: 2000 })],
    [trainingRun('fettle', [2, 2, 2, 2, 2, 2]), trainingRun('peft:best', [6, 6, 6, 6, 6], { peakMiB: 4000 })],
  ]
  const { ratios, sides } = summarize(rounds, 'fp32')
  assert.deepEqual(ratios['peft:best'].tokensPerSecond, { min: 3, median: 4, max: 5 })
  assert.deepEqual(ratios['peft:best'].peakMiB, { min: 0.25, median: 0.375, max: 0.5 })
  assert.deepEqual(ratios['peft:best'].firstStep, { min: 1, median: 1, max: 1 })
  assert.equal(sides['peft:best'].steps, 5)
  assert.deepEqual(sides.fettle.tokensPerSecond, { min: 50, median: 75, max: 100 })
})

test('the run of the SDK is shown and compared with nobody; a side that failed in a round has no pair there', async () => {
  const { summarize } = await benchModule('statistics.mjs')
  const run = { ...trainingRun('fettle-run', [1, 1, 1]), startToFirstStep: 3, frontMiB: 70 }
  const rounds = [[trainingRun('fettle', [1, 1, 1, 1]), run, trainingRun('trl:default', [2, 2, 2, 2])], [trainingRun('fettle', [1, 1, 1, 1])]]
  const { ratios, sides } = summarize(rounds, 'fp32')
  assert.deepEqual(Object.keys(ratios), ['trl:default'])
  assert.deepEqual(ratios['trl:default'].tokensPerSecond, { min: 2, median: 2, max: 2 })
  assert.deepEqual(sides['fettle-run'].startToFirstStep, { min: 3, median: 3, max: 3 })
})

test('first losses must agree within what the type rounds', async () => {
  const { agreement } = await benchModule('statistics.mjs')
  const ours = trainingRun('fettle', [1], { loss: 5 }), theirs = (loss: number) => trainingRun('trl:best', [1], { loss })
  assert.equal(agreement(ours, theirs(5.004), 'fp32').agrees, true)
  assert.equal(agreement(ours, theirs(5.01), 'fp32').agrees, false)
  assert.equal(agreement(ours, theirs(5.1), 'bf16').agrees, true)
  assert.equal(agreement(ours, theirs(5.3), 'bf16').agrees, false)
  assert.equal(agreement(ours, theirs(NaN), 'fp32').agrees, false)
})

test('generation: the first call is the warm-up; in fp32 the first token of each row must be the same', async () => {
  const { agreement, summarize } = await benchModule('statistics.mjs')
  const ours = generationRun('fettle', [9, 1], [[1, 2], [3, 4]], 0.1), theirs = generationRun('peft:best', [9, 4], [[1, 2], [3, 5]], 0.4), other = generationRun('peft:default', [9, 4], [[7, 2], [3, 4]])
  const { ratios } = summarize([[ours, theirs]], 'fp32')
  assert.equal(ratios['peft:best'].tokensPerSecond.median, 4)
  assert.equal(ratios['peft:best'].firstToken.median, 0.25)
  assert.deepEqual(agreement(ours, theirs, 'fp32'), { kind: 'tokens', distance: 0.25, agrees: true })
  assert.equal(agreement(ours, other, 'fp32').agrees, false)
  assert.equal(agreement(ours, other, 'bf16').agrees, true)
})
