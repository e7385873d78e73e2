import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { defaultLora } from 'fettle/dist/plan/defaults'
import { ranksOf, visitMeshes } from '../../support/mesh'
import type { Drawn, Mask, Randomness } from '../../support/mesh-randomness'
import { meshModel } from '../../support/mesh-training'
import { trainerPlan } from '../../support/trainer'

const meshes = ['tp=2', 'pp=2', 'pp=2:virtual2', 'dp=2', 'sharding=2:stage3']
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-randomness-')), dropout = 0.3
const plan = trainerPlan({ method: 'lora', lora: { ...defaultLora, rank: 4, dropout }, neftune: 5, batch: { size: 4, evalSize: 4, accumulate: 2, tokens: null }, steps: 2, device: 'cpu', blocks: 'auto' })
const runs = {
  dropout: { plan, recompute: false }, again: { plan, recompute: false }, recompute: { plan, recompute: true }, attention: { plan, recompute: 'attention' },
  'another seed': { plan: { ...plan, seed: 7 }, recompute: false },
} as const satisfies Randomness['runs']
const sampling: Randomness['sampling'] = [
  { maxNewTokens: 12, minNewTokens: 12, temperature: 0 }, { maxNewTokens: 12, minNewTokens: 12, temperature: 1, seed: 5 }, { maxNewTokens: 12, minNewTokens: 12, temperature: 0.7, topK: 20, topP: 0.9, seed: 6 },
]

before(async () => {
  const model = path.join(folder, 'model')
  meshModel(model, 'llama', 4)
  const argument: Randomness = { model, out: folder, runs, prompts: [[20, 30, 40, 50], [60, 70]], sampling }
  await Promise.all([visitMeshes('mesh-randomness.js', [''], argument), visitMeshes('mesh-randomness.js', meshes, argument)])
})
after(() => fs.rmSync(folder, { recursive: true, force: true }))

const read = (mesh: string, name: string, rank: number): unknown => JSON.parse(fs.readFileSync(path.join(folder, mesh || 'alone', `${name}-${rank}.json`), 'utf8'))
const drawn = (mesh: string, rank: number, run: keyof typeof runs = 'dropout'): Drawn => read(mesh, run, rank) as Drawn
const at = (masks: readonly Mask[], ...places: string[]): Mask[] => masks.filter(({ place }) => places.includes(place))

/** Two masks of random bits differ in 2·p·(1 − p) of them; far from that they are of one draw. */
function unlike(a: Mask, b: Mask): void {
  assert.deepEqual(a.shape, b.shape)
  assert.equal(a.mask.length, a.shape.reduce((x, y) => x * y, 1))
  const share = [...a.mask].filter((bit, i) => bit !== b.mask[i]).length / a.mask.length
  assert.ok(share > dropout * (1 - dropout), `${a.place} of layer ${a.layer} and ${b.place} of layer ${b.layer} differ in ${share} of their bits`)
}

describe('dropout', () => {
  test('drops as much as it is told, anew for each place, layer, micro-batch and step', () => {
    const { masks } = drawn('', 0)
    assert.equal(masks.length, 2 * 2 * 4 * 4)
    for (const { mask } of masks) assert.ok(Math.abs([...mask].filter((bit) => bit === '0').length / mask.length - dropout) < 0.06)
    assert.equal(new Set(masks.map(({ mask }) => mask)).size, masks.length)
  })

  test('tensor ranks drop the same of what each holds whole', () => {
    const [a, b] = [0, 1].map((rank) => at(drawn('tp=2', rank).masks, 'qkv', 'up'))
    assert.equal(a.length, 2 * 2 * 4 * 2)
    assert.deepEqual(a, b)
  })

  test('tensor ranks drop each its own of what they divide', () => {
    const [a, b] = [0, 1].map((rank) => at(drawn('tp=2', rank).masks, 'out', 'down'))
    assert.equal(a.length, 2 * 2 * 4 * 2)
    a.forEach((mask, i) => unlike(mask, b[i]))
  })

  for (const mesh of ['dp=2', 'sharding=2:stage3']) test(`ranks of ${mesh} drop each its own`, () => {
    const [a, b] = [0, 1].map((rank) => drawn(mesh, rank).masks)
    assert.equal(a.length, 2 * 2 * 4 * 4)
    a.forEach((mask, i) => unlike(mask, b[i]))
  })

  for (const mesh of ['pp=2', 'pp=2:virtual2']) test(`stages of ${mesh} drop each its own`, () => {
    const [a, b] = [0, 1].map((rank) => drawn(mesh, rank).masks), layers = (masks: readonly Mask[]): number[] => [...new Set(masks.map(({ layer }) => layer))].sort()
    assert.deepEqual([layers(a), layers(b)], mesh === 'pp=2' ? [[0, 1], [2, 3]] : [[0, 2], [1, 3]])
    for (const place of ['qkv', 'out', 'up', 'down']) at(a, place).forEach((mask, i) => unlike(mask, at(b, place)[i]))
  })

  for (const mesh of ['', ...meshes]) for (const recompute of ['recompute', 'attention'] as const) test(`${mesh || 'one rank'}: what runs again (${recompute}) drops the same`, () => {
    for (let rank = 0; rank < ranksOf(mesh); rank++) {
      const first = drawn(mesh, rank), second = drawn(mesh, rank, recompute), count = new Map<string, number>()
      for (const { layer, place, mask } of second.masks) count.set(`${layer} ${place} ${mask}`, (count.get(`${layer} ${place} ${mask}`) ?? 0) + 1)
      const twice = recompute === 'recompute' ? ['qkv', 'out', 'up', 'down'] : ['qkv', 'out']
      assert.equal(count.size, first.masks.length)
      for (const { layer, place, mask } of first.masks) assert.equal(count.get(`${layer} ${place} ${mask}`), twice.includes(place) ? 2 : 1, `${place} of layer ${layer} on rank ${rank}`)
      assert.deepEqual(second.losses, first.losses)
    }
  })
})

describe('the same run', () => {
  for (const mesh of ['', ...meshes]) test(`on ${mesh || 'one rank'} draws and finds the same bits; with another seed others`, () => {
    for (let rank = 0; rank < ranksOf(mesh); rank++) {
      assert.deepEqual(drawn(mesh, rank, 'again'), drawn(mesh, rank))
      const other = drawn(mesh, rank, 'another seed')
      other.masks.forEach((mask, i) => unlike(mask, drawn(mesh, rank).masks[i]))
      assert.notDeepEqual(other.losses, drawn(mesh, rank).losses)
    }
  })
})

describe('noise on embeddings', () => {
  const near = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((value, i) => Math.abs(value - b[i]) < 1e-6)

  test('is the same on tensor ranks, and that of one rank', () => {
    const [alone, a, b] = [drawn('', 0), drawn('tp=2', 0), drawn('tp=2', 1)].map(({ noise }) => noise)
    assert.equal(alone.length, 4)
    assert.deepEqual(a, b)
    a.forEach((noise, i) => assert.ok(near(noise, alone[i])))
  })

  for (const mesh of ['dp=2', 'sharding=2:stage3']) test(`differs between the ranks of ${mesh}, and between micro-batches and steps`, () => {
    const all = [0, 1].flatMap((rank) => drawn(mesh, rank).noise)
    assert.equal(all.length, 8)
    all.forEach((noise, i) => all.slice(i + 1).forEach((other) => {
      assert.equal(noise.length, other.length)
      // m = 5 / √(9 · 32); independent draws differ by two thirds of m.
      const mean = noise.reduce((sum, value, k) => sum + Math.abs(value - other[k]), 0) / noise.length
      assert.ok(mean > 0.1, `${mean}`)
    }))
  })

  for (const mesh of ['pp=2', 'pp=2:virtual2']) test(`of ${mesh} is the first stage's alone, and that of one rank`, () => {
    const [first, second] = [0, 1].map((rank) => drawn(mesh, rank).noise)
    assert.equal(second.length, 0)
    first.forEach((noise, i) => assert.ok(near(noise, drawn('', 0).noise[i])))
  })
})

describe('sampling', () => {
  for (const mesh of meshes) test(`the ranks of ${mesh} choose the tokens that one rank does, greedy and drawn`, () => {
    const alone = read('', 'sampled', 0) as number[][][]
    assert.notDeepEqual(alone[0], alone[1])
    for (let rank = 0; rank < ranksOf(mesh); rank++) assert.deepEqual(read(mesh, 'sampled', rank), alone)
  })
})
