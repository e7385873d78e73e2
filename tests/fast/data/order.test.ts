import * as assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchOrder, epochOrder } from 'fettle/dist/data/order'
import { seededRandom } from 'fettle/dist/data/random'

const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b)
const all = (rows: number): number[] => Array.from({ length: rows }, (_, i) => i)

test('an epoch takes every row once, in an order that seed and epoch alone decide', () => {
  for (const rows of [1, 2, 7, 1000]) {
    assert.deepEqual(sorted(epochOrder({ rows, seed: 1, epoch: 0 })), all(rows))
    assert.deepEqual(epochOrder({ rows, seed: 1, epoch: 3 }), epochOrder({ rows, seed: 1, epoch: 3 }))
  }
  const orders = [[1, 0], [1, 1], [2, 0], [0, 1], [2 ** 40, 0]].map(([seed, epoch]) => epochOrder({ rows: 50, seed, epoch }).join())
  assert.equal(new Set(orders).size, orders.length)
})

test('the order is the same on every machine: a resume years later repeats it', () => {
  assert.deepEqual([...epochOrder({ rows: 8, seed: 42, epoch: 0 })], [7, 0, 6, 2, 1, 3, 5, 4])
})

test('the shuffle has no favourite places', () => {
  const counts = Array.from({ length: 5 }, () => new Array<number>(5).fill(0))
  for (let epoch = 0; epoch < 5000; epoch++) epochOrder({ rows: 5, seed: 9, epoch }).forEach((row, place) => counts[row][place]++)
  for (const row of counts) for (const count of row) assert.ok(Math.abs(count - 1000) < 150, `${count} of 1000`)
})

test('steps and micro-batches: sizes, the short last step, every row once', () => {
  const random = seededRandom(3)
  for (let i = 0; i < 50; i++) {
    const [rows, batchSize, accumulate] = [1 + random() % 200, 1 + random() % 9, 1 + random() % 4]
    const lengths = (row: number): number => (row * 37) % 101
    for (const groupSteps of [0, 3]) {
      const steps = batchOrder({ rows, lengths, seed: i, epoch: 1, batchSize, accumulate, groupSteps })
      assert.deepEqual(sorted(steps.flatMap(s => s.flatMap(b => [...b]))), all(rows))
      assert.equal(steps.length, Math.ceil(rows / (batchSize * accumulate)))
      steps.slice(0, -1).forEach(step => assert.deepEqual(step.map(b => b.length), Array(accumulate).fill(batchSize)))
    }
  }
})

test('grouping puts like lengths together inside its windows only', () => {
  const lengths = (row: number): number => row % 97
  const spread = (groupSteps: number): number => {
    const steps = batchOrder({ rows: 960, lengths, seed: 1, epoch: 0, batchSize: 8, accumulate: 1, groupSteps })
    return steps.reduce((sum, [batch]) => sum + Math.max(...[...batch].map(lengths)) - Math.min(...[...batch].map(lengths)), 0) / steps.length
  }
  assert.ok(spread(20) < spread(0) / 4, `${spread(20)} against ${spread(0)}`)
  const window = (groupSteps: number): number[] => batchOrder({ rows: 960, lengths, seed: 1, epoch: 0, batchSize: 8, accumulate: 1, groupSteps }).slice(0, 20).flatMap(s => [...s[0]])
  assert.deepEqual(sorted(window(20)), sorted(window(0)))
})
