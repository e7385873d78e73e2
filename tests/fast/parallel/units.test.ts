import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ops, scope, type ProcessGroup } from 'fettle-native'
import { alignment, elements, type FlatSpec } from 'fettle/dist/models/flat'
import { ownPiece } from 'fettle/dist/parallel/sharding/gathered'
import { UnitBuffers, unitsOf } from 'fettle/dist/parallel/sharding/units'

/** Two layers, an embedding before them and a norm behind; sizes that divide by nothing. */
const specs: FlatSpec[] = [
  { shape: [7, 5], decay: true, layer: -1 },
  { shape: [9, 5], decay: true, layer: 0 }, { shape: [5], decay: false, layer: 0 }, { shape: [3, 5], decay: true, fast: true, layer: 0 },
  { shape: [1], decay: false, layer: 1 }, { shape: [11, 13], decay: true, layer: 1 },
  { shape: [5], decay: false, layer: 2 },
]
const rank = (index: number): ProcessGroup => ({ rank: index }) as ProcessGroup
const laidOut = (ranks: number): { units: ReturnType<typeof unitsOf>; starts: number[] } => {
  const starts = new Array<number>(specs.length)
  return { units: unitsOf(specs, ranks, starts), starts }
}

test('parameters of a layer stand together, none over another, each at an aligned place', () => {
  for (const ranks of [2, 3, 4, 8]) {
    const { units, starts } = laidOut(ranks)
    assert.deepEqual(units.map(({ layer }) => layer), [-1, 0, 1, 2])
    const taken = specs.map(({ shape, layer }, i) => ({ start: starts[i], end: starts[i] + elements(shape), unit: units.find((unit) => unit.layer === layer)! })).sort((a, b) => a.start - b.start)
    taken.forEach(({ start, end, unit }, i) => {
      assert.equal(start % alignment, 0)
      assert.ok(start >= unit.start && end <= unit.start + unit.length)
      if (i > 0) assert.ok(start >= taken[i - 1].end)
    })
    for (const { length, share } of units) assert.deepEqual([length, share % alignment], [share * ranks, 0])
  }
})

test('pieces of all ranks are each parameter, once, and stand apart in a rank', () => {
  for (const ranks of [2, 3, 4, 8]) {
    const { units, starts } = laidOut(ranks)
    const used = Array.from({ length: ranks }, () => new Set<number>())
    specs.forEach(({ shape }, i) => {
      const seen = new Array<number>(elements(shape)).fill(0)
      for (let index = 0; index < ranks; index++) {
        const piece = ownPiece(units, rank(index), starts[i], seen.length)
        for (let k = 0; k < (piece?.length ?? 0); k++) {
          seen[piece!.from + k]++
          assert.ok(!used[index].has(piece!.start + k))
          used[index].add(piece!.start + k)
        }
      }
      assert.ok(seen.every((count) => count === 1), `parameter ${i} over ${ranks} ranks`)
    })
  }
})

test('ranges of decay and rate cover the parameters of their kind', () => {
  const { units, starts } = laidOut(2)
  specs.forEach(({ shape, decay, fast = false, layer }, i) => {
    const range = units.find((unit) => unit.layer === layer)!.ranges.find(({ start, length }) => starts[i] >= start && starts[i] + elements(shape) <= start + length)
    assert.deepEqual([range?.decay, range?.fast], [decay, fast])
  })
})

test('layers take two buffers in turns; what stands outside them has one of its own', () => scope(() => {
  const { units, starts } = laidOut(2), layers = units.filter(({ layer }) => layer === 0 || layer === 1)
  const buffers = new UnitBuffers(units, (unit) => layers.includes(unit), (size) => ops.zeros([size], { dtype: 'float32' }))
  const views = specs.map(({ shape, layer }, i) => buffers.view(units.find((unit) => unit.layer === layer)!, starts[i], shape))
  views.forEach((view, i) => ops.fill_(view, i + 1))
  // Neighbours do not share one: what was written stands.
  views.forEach((view, i) => assert.ok(view.toArray().every((value) => value === i + 1), `parameter ${i}`))
  buffers.zero()
  assert.ok(views.every((view) => view.toArray().every((value) => value === 0)))
  views.forEach((view) => view.free())
}))
