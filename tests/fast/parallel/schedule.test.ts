import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bubbleOf, mostInFlight, playThrough, scheduleOf } from 'fettle/dist/parallel/pipeline/schedule'

/** Meshes and windows of every kind: fewer micro-batches than stages, as many, rounds that are not full. */
const all = [1, 2, 3, 4, 8].flatMap((stages) => [1, 2, 3, 4].flatMap((chunks) => [1, 2, 3, 4, 5, 7, 8, 9, 16, 17].map((micros) => ({ stages, chunks, micros }))))
const name = ({ stages, chunks, micros }: (typeof all)[number]): string => `${stages} stages, ${chunks} chunks, ${micros} micro-batches`
const each = (of: number): number[] => Array.from({ length: of }, (_, i) => i)

test('every stage does each micro-batch once through each chunk, forward before backward', () => {
  for (const mesh of all) for (const stage of each(mesh.stages)) {
    const tasks = scheduleOf(mesh.stages, mesh.chunks, mesh.micros, stage), keys = tasks.map(({ kind, chunk, micro }) => `${kind} ${chunk} ${micro}`)
    assert.equal(new Set(keys).size, keys.length, name(mesh))
    assert.equal(keys.length, 2 * mesh.chunks * mesh.micros, name(mesh))
    for (const chunk of each(mesh.chunks)) for (const micro of each(mesh.micros)) {
      const forward = keys.indexOf(`forward ${chunk} ${micro}`), backward = keys.indexOf(`backward ${chunk} ${micro}`)
      assert.ok(forward >= 0 && backward > forward, `${name(mesh)}: ${chunk} ${micro}`)
    }
  }
})

test('gradients of a chunk are added in the order of micro-batches, so that sums are the same on every mesh', () => {
  for (const mesh of all) for (const stage of each(mesh.stages)) for (const chunk of each(mesh.chunks)) {
    const order = scheduleOf(mesh.stages, mesh.chunks, mesh.micros, stage).filter((task) => task.kind === 'backward' && task.chunk === chunk).map(({ micro }) => micro)
    assert.deepEqual(order, each(mesh.micros), name(mesh))
  }
})

test('stages never wait for each other for ever', () => {
  for (const { stages, chunks, micros } of all) assert.ok(playThrough(stages, chunks, micros) > 0)
})

test('one chunk a stage: a window takes as long as the formula says', () => {
  for (const { stages, micros } of all.filter(({ chunks }) => chunks === 1)) {
    const length = playThrough(stages, 1, micros), work = 3 * micros
    assert.equal(length, 3 * (micros + stages - 1))
    assert.ok(Math.abs((length - work) / length - bubbleOf(stages, 1, micros)) < 1e-12)
  }
})

test('interleaved stages wait no longer than whole ones, and with full rounds as the formula says', () => {
  for (const { stages, chunks, micros } of all.filter((mesh) => mesh.stages > 1 && mesh.chunks > 1 && mesh.micros % mesh.stages === 0)) {
    // Each chunk is 1 / chunks of the stage's work.
    const length = playThrough(stages, chunks, micros) / chunks, whole = playThrough(stages, 1, micros)
    assert.ok(length <= whole, `${stages} stages, ${chunks} chunks, ${micros} micro-batches: ${length}, whole stages ${whole}`)
    assert.ok(Math.abs((length - 3 * micros) / length - bubbleOf(stages, chunks, micros)) < 1e-12, `${stages} stages, ${chunks} chunks, ${micros} micro-batches`)
  }
})

test('a stage holds no more micro-batches than there are stages from it on', () => {
  for (const { stages, micros } of all) for (const stage of each(stages)) assert.equal(mostInFlight(scheduleOf(stages, 1, micros, stage)), Math.min(micros, stages - stage))
})

test('with several chunks a stage holds, in all of them, no more than the paper says', () => {
  for (const mesh of all.filter(({ chunks }) => chunks > 1)) for (const stage of each(mesh.stages)) {
    const { stages, chunks, micros } = mesh
    let open = 0, most = 0
    for (const { kind } of scheduleOf(stages, chunks, micros, stage)) most = Math.max(most, open += kind === 'forward' ? 1 : -1)
    assert.ok(most <= 2 * (stages - stage - 1) + (chunks - 1) * Math.min(stages, micros) + 1, `${name(mesh)}, stage ${stage}: ${most}`)
    assert.equal(open, 0)
  }
})
