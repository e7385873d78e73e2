import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ops, scope, type Tensor } from 'fettle-native'
import type { Role } from 'fettle/dist/models/architecture'
import { cutOf, takeCut } from 'fettle/dist/models/share'
import { JoinedParts, writeParts, writesPart, type Part } from 'fettle/dist/parallel/parts'
import { placeOf, type MeshShape } from 'fettle/dist/parallel/mesh'
import type { Ranks } from 'fettle/dist/parallel/ranks'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

const roles: Readonly<Record<string, Role>> = {
  column: { kind: 'column', unit: 2 }, groups: { kind: 'column', unit: 4 }, row: { kind: 'row', unit: 2 }, vocabulary: { kind: 'vocab', unit: 1 }, norm: { kind: 'replicate', unit: 1 },
}
const sizes: Readonly<Record<string, readonly [number, number]>> = { column: [16, 3], groups: [8, 3], row: [5, 16], vocabulary: [11, 3], norm: [4, 3] }
const wholeOf = (name: string): Tensor => { const [rows, columns] = sizes[name]; return ops.view(ops.arange(0, rows * columns, 1, { dtype: 'float32' }), [rows, columns]) }

const rankOf = (shape: MeshShape, rank: number): Ranks => ({ shape, rank, place: placeOf(shape, rank) }) as unknown as Ranks

/** What a rank writes: of its cut the values that are its own among `sharding` ranks. */
function partsOf(shape: MeshShape, rank: number): Part[] {
  const ranks = rankOf(shape, rank), { tp, sharding } = ranks.place
  return Object.entries(roles).flatMap(([name, role]) => {
    const [rows, columns] = sizes[name], cut = cutOf(role, rows, columns, { index: tp, count: shape.tp })
    if (!writesPart({ cut, partial: null }, ranks)) return []
    const own = ops.contiguous(takeCut(wholeOf(name), cut)), from = Math.floor((own.numel * sharding) / shape.sharding), length = Math.floor((own.numel * (sharding + 1)) / shape.sharding) - from
    return [{ name, whole: [rows, columns], cut, shape: own.shape, from, length, values: ops.clone(ops.narrow(ops.view(own, [own.numel]), 0, from, length)) }]
  })
}

for (const shape of [{ dp: 1, sharding: 1, pp: 1, tp: 4 }, { dp: 1, sharding: 3, pp: 1, tp: 1 }, { dp: 2, sharding: 3, pp: 1, tp: 2 }]) {
  test(`what ranks of ${JSON.stringify(shape)} write is the whole, each value once`, (t) => scope(() => {
    const folder = temporaryFolder(t), ranks = Array.from({ length: shape.dp * shape.sharding * shape.pp * shape.tp }, (_, rank) => rank)
    let values = 0
    for (const rank of ranks) {
      const parts = partsOf(shape, rank)
      values += parts.reduce((sum, { length }) => sum + length, 0)
      writeParts(folder, 'test', rank, parts)
    }
    assert.equal(values, Object.values(sizes).reduce((sum, [rows, columns]) => sum + rows * columns, 0))
    const joined = new JoinedParts(folder, 'test', ranks)
    assert.deepEqual(joined.names().sort(), Object.keys(roles).sort())
    for (const name of joined.names()) {
      assert.deepEqual(joined.shape(name), sizes[name])
      assert.deepEqual(joined.read(name).toArray(), wholeOf(name).toArray(), name)
    }
    joined.close()
  }))
}

test('files of ranks that are missing are told', (t) => scope(() => {
  const folder = temporaryFolder(t), shape = { dp: 1, sharding: 2, pp: 1, tp: 2 }
  for (let rank = 0; rank < 4; rank++) writeParts(folder, 'test', rank, partsOf(shape, rank))
  for (const left of [[0, 1, 2], [0, 2]]) {
    const joined = new JoinedParts(folder, 'test', left)
    refusal(() => joined.read('column'), 'checkpoint.parts', 'files of some ranks are missing')
    joined.close()
  }
}))

test('of what several hold one writes it', () => {
  const shape = { dp: 2, sharding: 1, pp: 2, tp: 2 }, writers = (partial: 'model' | 'ends' | 'tensor' | null): number[] => Array.from({ length: 8 }, (_, rank) => rank).filter((rank) => writesPart({ cut: null, partial }, rankOf(shape, rank)))
  assert.deepEqual(writers('model'), [0])
  assert.deepEqual(writers('ends'), [0])
  // A stage's own: once on each stage that has it.
  assert.deepEqual(writers(null), [0, 2])
  assert.deepEqual(writers('tensor'), [0, 2])
})
