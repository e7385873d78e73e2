import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ops, scope } from 'fettle-native'
import type { Role } from 'fettle/dist/models/architecture'
import { cutOf, cutSize, putCut, takeCut, vocabularyOf } from 'fettle/dist/models/share'

interface Case { readonly name: string; readonly role: Role; readonly rows: number; readonly columns: number; readonly ranks: readonly number[] }
const cases: Case[] = [
  { name: 'rows at heads', role: { kind: 'column', unit: 3 }, rows: 24, columns: 5, ranks: [2, 4, 8] },
  { name: 'columns at heads', role: { kind: 'row', unit: 3 }, rows: 5, columns: 24, ranks: [2, 4, 8] },
  { name: 'columns of two pieces', role: { kind: 'row', unit: 1, pieces: [8, 8] }, rows: 3, columns: 16, ranks: [2, 4, 8] },
  { name: 'queries, keys and values in one matrix', role: { kind: 'column', unit: 2, pieces: [16, 4, 4] }, rows: 24, columns: 3, ranks: [2, 4, 8] },
  { name: 'fewer key/value groups than ranks', role: { kind: 'column', unit: 2 }, rows: 4, columns: 3, ranks: [4, 8] },
  { name: 'a vocabulary that goes evenly', role: { kind: 'vocab', unit: 1 }, rows: 12, columns: 3, ranks: [2, 3, 4] },
  { name: 'a vocabulary that does not', role: { kind: 'vocab', unit: 1 }, rows: 11, columns: 3, ranks: [2, 3, 4] },
  { name: 'what is whole everywhere', role: { kind: 'replicate', unit: 1 }, rows: 4, columns: 3, ranks: [2, 4] },
]
const ranks = (count: number): { index: number; count: number }[] => Array.from({ length: count }, (_, index) => ({ index, count }))

for (const { name, role, rows, columns, ranks: counts } of cases) for (const count of counts) describe(`${name}, over ${count} ranks`, () => {
  const cuts = ranks(count).map((rank) => cutOf(role, rows, columns, rank))

  test('what all take, put back, is the whole', () => scope(() => {
    const whole = ops.view(ops.arange(0, rows * columns, 1, { dtype: 'float32' }), [rows, columns]), back = ops.full([rows, columns], -1, { dtype: 'float32' })
    for (const cut of cuts) putCut(back, ops.clone(takeCut(whole, cut)), cut)
    assert.deepEqual(back.toArray(), whole.toArray())
  }))

  test('each value is held by as many ranks as it is said to be', () => {
    const size = role.kind === 'row' ? columns : rows, held = new Array<number>(size).fill(0), said = new Array<number>(size).fill(0)
    for (const cut of cuts) {
      if (cut === null) continue
      assert.equal(cut.dim, role.kind === 'row' ? 1 : 0)
      cut.stretches.forEach(({ start, length }, i) => { for (let at = start; at < start + length; at++) { held[at]++; said[at] = cut.holders[i] } })
    }
    assert.deepEqual(held, said)
    assert.ok(cuts.every((cut) => (cut === null) === (role.kind === 'replicate')))
  })

  test('cuts fall between units', () => {
    for (const cut of cuts) for (const { start, length } of cut?.stretches ?? []) assert.deepEqual([start % role.unit, length % role.unit], [0, 0])
  })
})

test('of fused rows each rank has its part of every piece; groups that are fewer than ranks go to neighbours', () => {
  const role: Role = { kind: 'column', unit: 2, pieces: [16, 4, 4] }
  assert.deepEqual(cutOf(role, 24, 3, { index: 2, count: 4 }), { dim: 0, stretches: [{ start: 8, length: 4 }, { start: 18, length: 2 }, { start: 22, length: 2 }], holders: [1, 2, 2] })
  const groups = ranks(4).map((rank) => cutOf(role, 24, 3, rank)!.stretches[1].start)
  assert.deepEqual(groups, [16, 16, 18, 18])
})

test('a vocabulary is cut as evenly as it goes, by the embedding as by the head', () => {
  const cuts = ranks(4).map((rank) => cutOf({ kind: 'vocab', unit: 1 }, 11, 3, rank)!)
  assert.deepEqual(cuts.map(cutSize), [2, 3, 3, 3])
  assert.deepEqual(cuts.map(({ stretches: [stretch] }) => stretch), ranks(4).map((rank) => vocabularyOf({ vocabSize: 11 }, rank)))
})

test('one rank holds all', () => assert.equal(cutOf({ kind: 'column', unit: 1 }, 8, 8, { index: 0, count: 1 }), null))
