import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { ops, scope, tensor, type Tensor } from 'fettle-native'
import { CheckpointError } from 'fettle/dist/errors'
import type { Role } from 'fettle/dist/models/architecture'
import { cutOf, evenly, takeCut } from 'fettle/dist/models/share'
import { openWeights } from 'fettle/dist/models/weights'
import { JoinedParts, partNames } from 'fettle/dist/models/weights/parts'
import { placeOf, type MeshShape } from 'fettle/dist/parallel/mesh/mesh'
import { writeParts, writesPart, type Part } from 'fettle/dist/parallel/parts'
import { repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const [rows, columns] = [24, 16]
const counted = (): Tensor => tensor(Float32Array.from({ length: rows * columns }, (_, i) => i + 1), [rows, columns])

/** What tensor rank `index` of `count` writes of a matrix, and of it what sharding rank `shard` of `shards` does. */
function partOf(role: Role, index: number, count: number, shard = 0, shards = 1, name = 'w'): Part {
  const whole = counted(), cut = cutOf(role, rows, columns, { index, count }), own = ops.contiguous(takeCut(whole, cut))
  const { start: from, length } = evenly(own.numel, { index: shard, count: shards })
  return { name, whole: whole.shape, cut, shape: own.shape, from, length, values: ops.narrow(ops.view(own, [own.numel]), 0, from, length) }
}

/** Writes a file for each rank. */
function written(folder: string, ranks: readonly (readonly Part[])[]): string {
  ranks.forEach((parts, rank) => writeParts(folder, 'some', rank, parts))
  return folder
}

const refusal = (pattern: RegExp) => (error: unknown): boolean => error instanceof CheckpointError && error.code === 'checkpoint.parts' && pattern.test(error.message)

const roles: Record<string, [Role, number]> = {
  'rows cut at heads': [{ kind: 'column', unit: 4 }, 2], 'columns cut at heads': [{ kind: 'row', unit: 4 }, 4], 'a vocabulary cut unevenly': [{ kind: 'vocab', unit: 1 }, 5],
  'a fused q, k and v, whose groups two ranks hold each': [{ kind: 'column', unit: 4, pieces: [16, 4, 4] }, 2],
  'a fused gate and up': [{ kind: 'column', unit: 1, pieces: [12, 12] }, 3], 'a weight that every rank holds': [{ kind: 'replicate', unit: 1 }, 2],
}
for (const [name, [role, count]] of Object.entries(roles)) for (const shards of [1, 3])
  test(`${name} over ${count} ranks${shards > 1 ? `, each over ${shards} sharding ranks` : ''}: the parts make the whole, and each its cut`, (t) => scope(() => {
    const indices = Array.from({ length: role.kind === 'replicate' ? 1 : count }, (_, index) => index)
    // The order of ranks is not that of the values.
    const folder = written(temporaryFolder(t), indices.flatMap((index) => Array.from({ length: shards }, (_, shard) => [partOf(role, index, count, shards - 1 - shard, shards)])))
    const joined = new JoinedParts(folder, 'some', indices.length * shards)
    assert.deepEqual([joined.names(), joined.shape('w'), joined.dtype('w')], [['w'], [rows, columns], 'float32'])
    assert.ok(ops.equal(joined.read('w'), counted()))
    for (const other of [1, 2, 4]) for (let index = 0; index < other; index++) {
      const cut = cutOf(role, rows, columns, { index, count: other })
      assert.ok(ops.equal(joined.readCut('w', cut), takeCut(counted(), cut)))
    }
    joined.close()
  }))

const column: Role = { kind: 'column', unit: 4 }
test('parts that are missing, overlap, or are of another tensor are refused, with how much there is', (t) => scope(() => {
  const read = (ranks: readonly (readonly Part[])[]) => () => new JoinedParts(written(temporaryFolder(t), ranks), 'some', ranks.length).read('w')
  assert.throws(read([[partOf(column, 0, 2)], []]), refusal(/192 of 384 values of w; files of some ranks are missing/))
  assert.throws(read([[partOf(column, 0, 2)], [partOf(column, 1, 2, 0, 2)]]), refusal(/96 of 192 values of w/))
  assert.throws(read([[partOf(column, 0, 2)], [partOf(column, 1, 2, 1, 2)]]), refusal(/0 of 192 values of w/))
  assert.throws(read([[partOf(column, 0, 2)], [partOf(column, 1, 2)], [partOf(column, 1, 2)]]), refusal(/384 of 192 values of w; some are there twice/))
  assert.throws(read([[partOf(column, 0, 2)], [partOf(column, 1, 2)], [partOf(column, 0, 3)]]), refusal(/some are there twice/))
  assert.throws(read([[partOf(column, 0, 2)], [partOf({ kind: 'replicate', unit: 1 }, 0, 2)]]), refusal(/768 of 384 values of w; some are there twice/))
  assert.throws(read([[partOf(column, 0, 2)], [partOf({ kind: 'row', unit: 4 }, 1, 2)]]), refusal(/some are there twice/))
  // As many values as there should be, but not the right ones.
  assert.throws(read([[partOf(column, 0, 3)], [partOf(column, 1, 3)], [partOf({ kind: 'vocab', unit: 1 }, 1, 3)]]), refusal(/256 of 384 values of w; files of some ranks are missing/))
  // One of four ranks is missing: the key/value groups, which all hold, are there, and some queries are not.
  const fused: Role = { kind: 'column', unit: 4, pieces: [16, 4, 4] }
  assert.throws(read([0, 1, 3].map((index) => [partOf(fused, index, 4)])), refusal(/320 of 384 values of w/))
}))

test('a rank whose file is missing or broken is named', (t) => scope(() => {
  const folder = written(temporaryFolder(t), [[partOf(column, 0, 2)], [partOf(column, 1, 2)]]), { values, table } = partNames('some', 1)
  assert.throws(() => new JoinedParts(folder, 'some', 3), refusal(/written by 3 ranks, and some-rank-00002\.safetensors .* of rank 2 is missing/))
  fs.truncateSync(path.join(folder, values), 100)
  assert.throws(() => new JoinedParts(folder, 'some', 2), refusal(/rank 1 is missing or broken/))
  written(folder, [[partOf(column, 0, 2)], [partOf(column, 1, 2)]])
  fs.writeFileSync(path.join(folder, table), '{')
  assert.throws(() => new JoinedParts(folder, 'some', 2), refusal(/rank 1 is missing or broken/))
}))

/** A checkpoint's folder as far as a model is read from it: one matrix in two parts, which stands there twice. */
function partsFolder(folder: string): string {
  scope(() => [0, 1].forEach((index) => writeParts(folder, 'optimizer', index, [partOf(column, index, 2, 0, 1, 'master.w'), { ...partOf(column, index, 2, 0, 1, 'exp_avg.w') }])))
  fs.writeFileSync(path.join(folder, 'model.parts.json'), JSON.stringify({ version: 1, ranks: 2, dtype: 'bfloat16', tensors: { 'transformer.w': 'w', 'head.w': 'w' } }))
  fs.writeFileSync(path.join(folder, 'config.json'), '{"model_type":"llama"}')
  return folder
}

test('a folder of parts opens as weights: under the names of its files, rounded once from the masters', (t) => scope(() => {
  const weights = openWeights(partsFolder(temporaryFolder(t)))
  assert.deepEqual([weights.kind, weights.names(), weights.has('w'), weights.has('head.w')], ['parts', ['transformer.w', 'head.w'], false, true])
  assert.deepEqual(weights.info('head.w'), { shape: [rows, columns], dtype: 'bfloat16' })
  assert.ok(ops.equal(weights.read('transformer.w', { dtype: 'float32' }), counted()))
  assert.ok(ops.equal(weights.read('head.w'), ops.to(counted(), { dtype: 'bfloat16' })))
  assert.throws(() => weights.read('w'), { code: 'model.tensor' })
  weights.close()
}))

test('opening parts and reading their shapes loads no native addon', (t) => {
  const script = `const w = require('fettle/dist/models/weights').openWeights(${JSON.stringify(partsFolder(temporaryFolder(t)))}); w.info('head.w')
    console.log(JSON.stringify(Object.keys(require.cache).filter((n) => /fettle-native|[\\\\/]native[\\\\/](?!.*node_modules)/.test(n))))`
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script], { cwd: repoRoot, encoding: 'utf8' })
  assert.equal(stdout.trim(), '[]', stderr)
})

test('of what several ranks hold one writes it, and of a stage\'s own one on each stage', () => {
  const shape: MeshShape = { dp: 2, sharding: 1, pp: 2, tp: 2 }, ranks = Array.from({ length: 8 }, (_, rank) => rank)
  const writers = (partial: 'model' | 'ends' | 'tensor' | null): number[] => ranks.filter((rank) => writesPart({ cut: null, partial }, { place: placeOf(shape, rank) }))
  assert.deepEqual([writers('model'), writers('ends'), writers(null), writers('tensor')], [[0], [0], [0, 2], [0, 2]])
})
