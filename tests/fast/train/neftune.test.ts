import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getRngState, ops, scope } from 'fettle-native'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { packBatch } from 'fettle/dist/models/batch'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { addNoise, noiseSeed } from 'fettle/dist/models/noise'
import { openWeights } from 'fettle/dist/models/weights'
import { defaultLora } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { resumeFrom, saveCheckpoint } from 'fettle/dist/train/checkpoint'
import { findCheckpoint } from 'fettle/dist/train/checkpoints'
import { evaluateRows } from 'fettle/dist/train/evaluate'
import type { Trainer } from 'fettle/dist/train/trainer'
import { walk } from 'fettle/dist/train/walk'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan } from '../../support/trainer'

const rows = memoryRows(randomRows(11))
const optimizer: Plan['optimizer'] = { learningRate: 1e-3, weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 }
const plan = (neftune: number | null, changes: Partial<Plan> = {}): Plan => trainerPlan({ optimizer, batch: { size: 2, evalSize: 4, accumulate: 2, tokens: null }, neftune, ...changes })
const bits = (trainer: Trainer): Buffer => scope(() => Buffer.from(trainer.parameters.flat!.master.toBytes()))

test('noise is uniform within alpha / √(length · width) of each packed sequence, and leaves the generator alone', () => scope(() => {
  const offsets = [0, 400, 500, 501], width = 64, alpha = 5, rng = getRngState()
  const noise = addNoise(ops.zeros([501, width], { dtype: 'float32' }), { alpha, seed: 7 }, { kind: 'packed', offsets })
  assert.deepEqual(getRngState(), rng)
  for (let i = 0; i < 3; i++) {
    const length = offsets[i + 1] - offsets[i], m = alpha / Math.sqrt(length * width), values = ops.narrow(noise, 0, offsets[i], length).toArray()
    assert.ok(values.every((value) => Math.abs(value) <= m * (1 + 1e-6)), `sequence ${i} stays within ${m}`)
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length, variance = values.reduce((sum, value) => sum + value * value, 0) / values.length
    const error = 4 / Math.sqrt(values.length)
    assert.ok(Math.abs(mean) < error * m && Math.abs(variance / (m * m / 3) - 1) < 2 * error, `sequence ${i}: mean ${mean}, variance ${variance / (m * m)}`)
  }
  const again = addNoise(ops.zeros([501, width], { dtype: 'float32' }), { alpha, seed: 7 }, { kind: 'packed', offsets })
  assert.ok(ops.equal(noise, again))
  assert.ok(!ops.equal(noise, addNoise(ops.zeros([501, width], { dtype: 'float32' }), { alpha, seed: 8 }, { kind: 'packed', offsets })))
}))

test('each micro-batch of each step has a seed of its own', () => {
  const seeds = new Set<number>()
  for (const seed of [1, 2, 2 ** 40]) for (let step = 0; step < 50; step++) for (let micro = 0; micro < 8; micro++) seeds.add(noiseSeed(seed, step, micro))
  assert.equal(seeds.size, 3 * 50 * 8)
})

test('training is noisy, evaluation is not; zero is none', () => {
  const loss = (neftune: number | null): { first: number; evaluated: number } => {
    const trainer = tinyTrainer(plan(neftune), rows)
    const evaluated = evaluateRows(trainer.parts.decoder, rows, { rows: 4 }).loss, first = trainer.next().loss
    freeTrainer(trainer)
    return { first, evaluated }
  }
  const off = loss(null), zero = loss(0), on = loss(5)
  assert.deepEqual(zero, off)
  assert.notEqual(on.first, off.first)
  assert.equal(on.evaluated, off.evaluated)
})

test('a resume draws what the run would have drawn; recompute changes nothing', async (t) => {
  for (const changes of [{}, { method: 'lora', lora: { ...defaultLora, rank: 4, dropout: 0.1 } }] as const) {
    const noisy = plan(5, changes), whole = tinyTrainer(noisy, rows)
    for (let i = 0; i < 2; i++) whole.next()
    const folder = temporaryFolder(t)
    await saveCheckpoint(folder, whole, 2, () => {})
    for (let i = 0; i < 2; i++) whole.next()
    const resumed = tinyTrainer(noisy, rows)
    resumeFrom((await findCheckpoint(folder, true, () => {}))!, resumed, () => {})
    for (let i = 0; i < 2; i++) resumed.next()
    assert.deepEqual(bits(resumed), bits(whole))
    const again = tinyTrainer(noisy, rows, { recompute: true }), plain = tinyTrainer(noisy, rows)
    if (!('lora' in changes)) {
      for (let i = 0; i < 2; i++) { again.next(); plain.next() }
      assert.deepEqual(bits(again), bits(plain))
    }
    for (const trainer of [whole, resumed, again, plain]) freeTrainer(trainer)
  }
})

test('gradients are of the noisy forward, where a norm or a projection stands after the embedding too', () => {
  for (const name of ['bloom', 'opt-350m-style', 'gemma']) scope(() => {
    const parameters = loadParameters(openWeights(fixture('golden', name)), { dtype: 'float32', device: 'cpu', train: true }), decoder = new Decoder(parameters, plainBlocks())
    const batch = { ...packBatch([{ inputIds: [5, 6, 7, 8, 9, 10], labels: [5, 6, 7, 8, 9, 10] }, { inputIds: [20, 21], labels: [20, 21] }]), noise: { alpha: 5, seed: 3 } }
    const loss = (): number => walk(decoder, batch, { scale: 1, training: true }).lossSum.item()
    parameters.zeroGrad()
    loss()
    const { master, grad } = parameters.embedding, at = ops.narrow(grad!, 0, 8, 1).toArray(), k = at.findIndex((value) => Math.abs(value) === Math.max(...at.map(Math.abs)))
    const slot = ops.narrow(ops.narrow(master!, 0, 8, 1), 1, k, 1), h = 1e-3, value = slot.item()
    const [up, down] = [h, -h].map((step) => { ops.fill_(slot, value + step); return loss() })
    const numeric = (up - down) / (2 * h)
    assert.ok(Math.abs(numeric / at[k] - 1) < 0.02, `${name}: ${numeric} against ${at[k]}`)
    decoder.free()
    parameters.free()
  })
})
