import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { manualSeed, scope } from 'fettle-native'
import { defaultLora, defaultPlan } from 'fettle/dist/plan/defaults'
import type { LoraPlan, Plan } from 'fettle/dist/plan/plan'
import { resumeFrom, saveCheckpoint } from 'fettle/dist/train/checkpoint'
import { findCheckpoint } from 'fettle/dist/train/checkpoints'
import { isDiskFull } from 'fettle/dist/train/disk'
import { planDifferences } from 'fettle/dist/train/resume'
import type { Trainer } from 'fettle/dist/train/trainer'
import { temporaryFolder } from '../../support/tiny'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan } from '../../support/trainer'

const optimizer: Plan['optimizer'] = { learningRate: 1e-3, weightDecay: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 }
const batch: Plan['batch'] = { size: 2, evalSize: 4, accumulate: 2, tokens: null }
const schedule: Plan['schedule'] = { ...defaultPlan('').schedule, type: 'cosine', warmupSteps: 2 }
const common = { optimizer, batch, schedule, epochs: 3 }
const dropout: LoraPlan = { ...defaultLora, rank: 4, alpha: 8, dropout: 0.2, targets: ['q_proj', 'v_proj', 'down_proj'] }

const plans: Record<string, Plan> = {
  'SFT in fp32': trainerPlan(common),
  'SFT in bf16': trainerPlan({ ...common, precision: 'bf16' }),
  'LoRA with dropout': trainerPlan({ ...common, method: 'lora', lora: dropout }),
  'rsLoRA, DoRA and LoRA+ with patterns': trainerPlan({ ...common, method: 'lora', lora: { ...dropout, rsLora: true, dora: true, plusRatio: 8, rankPattern: { q_proj: 2 }, alphaPattern: { v_proj: 3 } } }),
  'LoRA with dropout in bf16': trainerPlan({ ...common, method: 'lora', lora: dropout, precision: 'bf16' })
}
const rows = memoryRows(randomRows(11))
const bits = (trainer: Trainer): Buffer => scope(() => Buffer.from(trainer.parameters.flat!.master.toBytes()))
const noWeights = (): void => {}
const run = (trainer: Trainer, to: number): number[] => {
  const losses: number[] = []
  while (trainer.step < to) losses.push(trainer.next().loss)
  return losses
}

for (const [name, plan] of Object.entries(plans)) {
  test(`${name}: a resumed run ends with the same bits as one that was not interrupted`, async (t) => {
    const output = temporaryFolder(t), at = 4 // in the middle of the second epoch
    const whole = tinyTrainer(plan, rows)
    manualSeed(plan.seed)
    const losses = run(whole, whole.parts.windows.totalSteps)
    const first = tinyTrainer(plan, rows)
    manualSeed(plan.seed)
    run(first, at)
    await saveCheckpoint(output, first, 1, noWeights)
    freeTrainer(first)

    manualSeed(999)
    const second = tinyTrainer({ ...plan, resume: true }, rows)
    resumeFrom(await findCheckpoint(output, true, assert.fail), second, (code, message) => assert.fail(`${code}: ${message}`))
    assert.equal(second.step, at)
    assert.deepEqual(run(second, second.parts.windows.totalSteps), losses.slice(at))
    assert.ok(bits(second).equals(bits(whole)), 'weights differ')
    freeTrainer(second)
    freeTrainer(whole)
  })
}

test('a rate that was set is kept by checkpoints; a plan with another base rate wins', async (t) => {
  const output = temporaryFolder(t), plan = plans['SFT in fp32']
  const first = tinyTrainer(plan, rows)
  run(first, 2)
  first.setLearningRate(7e-4)
  await saveCheckpoint(output, first, 1, noWeights)
  const { learningRate } = first.next()
  freeTrainer(first)
  const entry = await findCheckpoint(output, true, assert.fail)
  const same = tinyTrainer(plan, rows)
  resumeFrom(entry, same, assert.fail)
  assert.deepEqual([same.learningRate, same.next().learningRate], [7e-4, learningRate])
  // Into the next checkpoint, too.
  await saveCheckpoint(output, same, 1, noWeights)
  freeTrainer(same)
  const later = tinyTrainer(plan, rows)
  resumeFrom(await findCheckpoint(output, true, assert.fail), later, assert.fail)
  assert.equal(later.learningRate, 7e-4)
  freeTrainer(later)
  const other = tinyTrainer({ ...plan, optimizer: { ...optimizer, learningRate: 2e-3 } }, rows)
  resumeFrom(await findCheckpoint(output, true, assert.fail), other, () => {})
  assert.equal(other.learningRate, 2e-3)
  freeTrainer(other)
})

test('a resume on other data is refused, another plan is named, other weights do not fit', async (t) => {
  const output = temporaryFolder(t), plan = plans['LoRA with dropout']
  const first = tinyTrainer(plan, rows)
  run(first, 2)
  await saveCheckpoint(output, first, null, noWeights)
  freeTrainer(first)
  const entry = await findCheckpoint(output, true, assert.fail)

  const other = tinyTrainer(plan, memoryRows(randomRows(11), 'other rows'))
  assert.throws(() => resumeFrom(entry, other, assert.fail), { name: 'CheckpointError', code: 'checkpoint.data' })
  freeTrainer(other)

  const faster = tinyTrainer({ ...plan, optimizer: { ...optimizer, learningRate: 2e-3 }, output: 'elsewhere' }, rows)
  const warnings: string[] = []
  resumeFrom(entry, faster, (code, message) => warnings.push(`${code} ${message}`))
  assert.equal(warnings.length, 1)
  assert.match(warnings[0], /^checkpoint\.plan .*optimizer\.learningRate 0\.001 → 0\.002/)
  freeTrainer(faster)

  const wider = tinyTrainer({ ...plan, lora: { ...dropout, rank: 8 } }, rows)
  assert.throws(() => resumeFrom(entry, wider, () => {}), { name: 'CheckpointError', code: 'checkpoint.fit' })
  freeTrainer(wider)
  const fewer = tinyTrainer({ ...plan, lora: { ...dropout, targets: ['q_proj'] } }, rows)
  assert.throws(() => resumeFrom(entry, fewer, () => {}), { name: 'CheckpointError', code: 'checkpoint.fit' })
  freeTrainer(fewer)
})

test('a full disk: nothing half-written stays, and the cause is known', async (t) => {
  const output = temporaryFolder(t)
  const trainer = tinyTrainer(plans['SFT in fp32'], rows)
  run(trainer, 1)
  await saveCheckpoint(output, trainer, 1, noWeights)
  run(trainer, 2)
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  await assert.rejects(saveCheckpoint(output, trainer, 1, (folder) => {
    fs.writeFileSync(path.join(folder, 'model.safetensors'), 'half')
    throw full
  }), (error) => isDiskFull(error))
  assert.deepEqual(fs.readdirSync(output), ['checkpoint-1'])
  assert.equal(isDiskFull(new Error('other')), false)
  freeTrainer(trainer)
})

test('a resume that begins the data again takes other rows too, and the next resume goes on from there', async (t) => {
  const output = temporaryFolder(t), plan = plans['SFT in fp32'], first = tinyTrainer(plan, rows)
  run(first, 2)
  await saveCheckpoint(output, first, null, noWeights)
  const other = memoryRows(randomRows(9, 7), 'other rows'), restart: Plan = { ...plan, resumeData: 'restart' }
  const refused = tinyTrainer(plan, other)
  const entry = (await findCheckpoint(output, true, () => {}))!
  assert.throws(() => resumeFrom(entry, refused, () => {}), { name: 'CheckpointError', code: 'checkpoint.data', message: /ignore_data_skip/ })
  const again = tinyTrainer(restart, other)
  resumeFrom(entry, again, () => {})
  assert.deepEqual(again.next().rows, again.parts.windows.at(0).flat())
  assert.equal(again.step, 3)
  await saveCheckpoint(output, again, null, noWeights)
  const later = tinyTrainer(plan, other)
  resumeFrom((await findCheckpoint(output, true, () => {}))!, later, () => {})
  assert.deepEqual(later.next().rows, later.parts.windows.at(1).flat())
  assert.deepEqual(again.next().rows, later.parts.windows.at(1).flat())
  assert.deepEqual(bits(again), bits(later))
  for (const trainer of [first, refused, again, later]) freeTrainer(trainer)
})

test('what of the data shapes training is told when it changed', () => {
  const plan = plans['SFT in fp32']
  assert.deepEqual(planDifferences(plan, { ...plan, data: { ...plan.data, path: 'elsewhere', seed: 4, packing: true }, recompute: 'full', progress: false }).map(({ field }) => field), ['data.packing', 'data.seed'])
})
