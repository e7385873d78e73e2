import * as assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Row } from 'fettle/dist/data/dataset'
import { countSupervised, packRows, Packs, paddingShare } from 'fettle/dist/data/packing'
import { seededRandom } from 'fettle/dist/data/random'

const row = (ids: number[], labels: number[]): Row => ({ inputIds: Int32Array.from(ids), labels: Int32Array.from(labels) })
const numbers = (values: BigInt64Array): number[] => Array.from(values, Number)

test('a batch by hand: places restart in each row, and no row predicts the next one', () => {
  const packed = packRows([row([5, 6, 7], [-100, 6, 7]), row([8], [8]), row([1, 2], [-100, -100]), row([3, 4], [3, -100])])
  assert.deepEqual(numbers(packed.ids), [5, 6, 7, 8, 1, 2, 3, 4])
  assert.deepEqual(numbers(packed.positions), [0, 1, 2, 0, 0, 1, 0, 1])
  assert.deepEqual(packed.offsets, [0, 3, 4, 6, 8])
  // A label at a row's first place has no token before it, so nothing predicts it.
  assert.deepEqual([numbers(packed.targetRows), numbers(packed.targetLabels)], [[0, 1], [6, 7]])
  assert.deepEqual([packed.tokens, packed.longest], [8, 3])
})

test('batches without any label, and without any row', () => {
  const packed = packRows([row([1, 2, 3], [-100, -100, -100])])
  assert.deepEqual([packed.tokens, packed.targetRows.length, packed.targetLabels.length], [3, 0, 0])
  assert.deepEqual(packRows([]).offsets, [0])
})

test('any rows: each target is the next token of its own row, and each label is there once', () => {
  const random = seededRandom(5)
  for (let i = 0; i < 100; i++) {
    const rows = Array.from({ length: random() % 6 }, () => {
      const ids = Array.from({ length: 1 + random() % 9 }, () => random() % 50000)
      return row(ids, ids.map(id => (random() % 2 ? id : -100)))
    })
    const { offsets, ids, targetRows, targetLabels, tokens } = packRows(rows)
    assert.equal(targetRows.length, rows.reduce((sum, r) => sum + countSupervised(r.labels), 0))
    assert.equal(tokens, offsets.at(-1))
    numbers(targetRows).forEach((place, k) => {
      const of = offsets.filter(o => o <= place).length - 1
      assert.ok(place + 1 < offsets[of + 1])
      assert.equal(Number(targetLabels[k]), Number(ids[place + 1]))
      assert.equal(rows[of].labels[place + 1 - offsets[of]], Number(targetLabels[k]))
    })
  }
})

const packsOf = (lengths: readonly number[], maxLength: number): number[][] => {
  const packs = Packs.greedy(lengths.length, (r) => lengths[r], maxLength)
  return Array.from({ length: packs.count }, (_, p) => packs.rows(p))
}

test('greedy packs keep the order and every row, and cut none', () => {
  assert.deepEqual(packsOf([3, 4, 4, 10, 1], 8), [[0, 1], [2], [3], [4]])
  assert.deepEqual(packsOf([], 8), [])
  const random = seededRandom(6)
  for (let i = 0; i < 100; i++) {
    const lengths = Array.from({ length: random() % 40 }, () => 1 + random() % 20)
    const packs = packsOf(lengths, 16)
    const size = (pack: readonly number[]): number => pack.reduce((sum, r) => sum + lengths[r], 0)
    assert.deepEqual(packs.flat(), lengths.map((_, r) => r))
    packs.forEach((pack, p) => {
      assert.ok(pack.length === 1 || size(pack) <= 16)
      if (p > 0) assert.ok(size(packs[p - 1]) + lengths[pack[0]] > 16, 'a pack is closed only when the next row does not fit')
    })
  }
})

test('a million rows are packed at once, in 4 MB', () => {
  const started = performance.now(), packs = Packs.greedy(1_000_000, (r) => 20 + (r * 7919) % 100, 2048)
  let rows = 0
  for (let p = 0; p < packs.count; p++) rows += packs.rows(p).length
  assert.equal(rows, 1_000_000)
  assert.ok(performance.now() - started < 60_000)
})

test('the padding that a padded batch would have', () => {
  assert.equal(paddingShare(4, (r) => [1, 3, 4, 4][r], 2), 1 - 12 / 14)
  assert.equal(paddingShare(3, () => 5, 2), 0)
  assert.equal(paddingShare(0, () => 5, 2), 0)
})
