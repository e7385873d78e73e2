import assert from 'node:assert/strict'
import { test } from 'node:test'
import { largestPass } from 'fettle/dist/train/cut'
import { Windows } from 'fettle/dist/train/windows'

const order = (epoch: number): number[] => Array.from({ length: 11 }, (_, i) => (i + epoch * 3) % 11)
const windows = new Windows(11, { size: 2, evalSize: 2, accumulate: 3, tokens: null }, { epochs: 2.5, steps: null }, order)

test('a window is micro-batches of rows; the last of an epoch is shorter', () => {
  assert.equal(windows.stepsPerEpoch, 2)
  assert.equal(windows.totalSteps, 5)
  assert.deepEqual(windows.at(0), [[0, 1], [2, 3], [4, 5]])
  assert.deepEqual(windows.at(1), [[6, 7], [8, 9], [10]])
  assert.deepEqual(windows.at(2), [[3, 4], [5, 6], [7, 8]])
})
test('every row once an epoch', () => {
  assert.deepEqual([2, 3].flatMap((step) => windows.at(step).flat()).sort((a, b) => a - b), order(0))
})
test('epochs done and their ends', () => {
  assert.equal(windows.epochsDone(3), 1.5)
  assert.deepEqual([1, 2, 3, 4].map((step) => windows.endsEpoch(step)), [false, true, false, true])
})
test('steps win over epochs; fewer rows than a batch are one step', () => {
  assert.equal(new Windows(11, { size: 2, evalSize: 2, accumulate: 3, tokens: null }, { epochs: 1, steps: 7 }, order).totalSteps, 7)
  const small = new Windows(1, { size: 8, evalSize: 8, accumulate: 4, tokens: null }, { epochs: 3, steps: null }, () => [0])
  assert.equal(small.totalSteps, 3)
  assert.deepEqual(small.at(2), [[0]])
})
test('the largest micro-batch of what is left', () => {
  const length = (row: number): number => (row === 2 ? 100 : 1)
  assert.deepEqual(windows.largest(0, length), { step: 0, rows: [2, 3], tokens: 101 })
  assert.equal(windows.largest(4, length).step, 4)
})
test('a batch that is not full may be left out', () => {
  const dropping = (rows: number, size = 2): Windows => new Windows(rows, { size, evalSize: 2, accumulate: 3, tokens: null }, { epochs: 1, steps: null, data: { dropLast: true } }, order)
  assert.deepEqual([dropping(11).at(0), dropping(11).at(1)], [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9]]])
  assert.equal(dropping(7).stepsPerEpoch, 1)
  assert.throws(() => dropping(3, 4), { name: 'DataError', code: 'data.no-batch' })
})

test('a budget of tokens cuts the same rows of a step into other micro-batches, and a long row stands alone', () => {
  const length = (row: number): number => (row === 4 ? 50 : 10)
  const cut = (tokens: number, ranks = 1): Windows => new Windows(11, { size: 2, evalSize: 2, accumulate: 3, tokens }, { epochs: 2.5, steps: null }, order, null, { length, ranks, device: 'gpu' })
  assert.deepEqual(cut(30).at(0), [[0, 1, 2], [3], [4], [5]])
  assert.deepEqual(cut(1000).at(0), [[0, 1, 2, 3, 4, 5]])
  assert.deepEqual(cut(1).at(1), [[6], [7], [8], [9], [10]])
  for (let step = 0; step < 5; step++) assert.deepEqual(cut(25).at(step).flat(), windows.at(step).flat())
  assert.equal(cut(25).totalSteps, windows.totalSteps)
  // Two ranks have half of the rows each, so that a micro-batch holds twice as much.
  assert.deepEqual(cut(20, 2).at(1), [[6, 7, 8, 9], [10]])
  assert.deepEqual(cut(30).largest(0, length), { step: 0, rows: [4], tokens: 50 })
})

test('without a budget of tokens long batches are cut into passes on CPUs, and short ones are never joined', () => {
  const length = (row: number): number => (row < 6 ? 10 : 600)
  const on = (device: 'cpu' | 'gpu', ranks = 1): Windows => new Windows(11, { size: 3, evalSize: 2, accumulate: 2, tokens: null }, { epochs: 1, steps: null }, order, null, { length, ranks, device })
  assert.deepEqual(on('cpu').at(0), [[0, 1, 2], [3, 4, 5]])
  assert.deepEqual(on('cpu').at(1), [[6], [7], [8], [9], [10]])
  assert.deepEqual(on('gpu').at(1), [[6, 7, 8], [9, 10]])
  // Of two ranks each has a row of each pass.
  assert.deepEqual(on('cpu', 2).at(1), [[6, 7], [8], [9, 10]])
})

test('the largest pass that rows can make follows from their longest', () => {
  const batch = { size: 8, evalSize: 8, accumulate: 2, tokens: null }
  assert.deepEqual(largestPass(batch, 512, 'gpu'), { rows: 8, tokens: 4096 })
  assert.deepEqual(largestPass(batch, 512, 'cpu'), { rows: 2, tokens: 1024 })
  assert.deepEqual(largestPass(batch, 2048, 'cpu'), { rows: 1, tokens: 2048 })
  assert.deepEqual(largestPass(batch, 16, 'cpu'), { rows: 8, tokens: 128 })
  assert.deepEqual(largestPass({ ...batch, tokens: 160 }, 16, 'cpu'), { rows: 10, tokens: 160 })
})
