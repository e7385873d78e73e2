import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { manualSeed, scope } from 'fettle-native'
import { readSafetensors } from 'fettle/dist/models/weights'
import { defaultPrefix } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { resumeFrom, saveCheckpoint } from 'fettle/dist/train/checkpoint'
import { findCheckpoint } from 'fettle/dist/train/checkpoints'
import type { Trainer } from 'fettle/dist/train/trainer'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan } from '../../support/trainer'
import { startWorker, workerPlan } from '../../support/worker'

const prefix = { ...defaultPrefix, tokens: 6 }, projected = { ...prefix, projection: true, projectionSize: 20 }
const optimizer: Plan['optimizer'] = { learningRate: 3e-2, weightDecay: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 }
const common = { method: 'prefix' as const, optimizer, batch: { size: 2, evalSize: 4, accumulate: 2, tokens: null }, epochs: 3 }
const rows = memoryRows(randomRows(11))
const bits = (trainer: Trainer): Buffer => scope(() => Buffer.from(trainer.parameters.flat!.master.toBytes()))
const run = (trainer: Trainer, to: number): number[] => {
  const losses: number[] = []
  while (trainer.step < to) losses.push(trainer.next().loss)
  return losses
}

for (const [name, changes] of Object.entries({ plain: { prefix }, projected: { prefix: projected }, 'projected in bf16': { prefix: projected, precision: 'bf16' as const } })) {
  test(`${name}: a resumed run ends with the same bits as one that was not interrupted`, async (t) => {
    const plan = trainerPlan({ ...common, ...changes }), output = temporaryFolder(t), at = 4
    const whole = tinyTrainer(plan, rows)
    const losses = run(whole, whole.parts.windows.totalSteps)
    const first = tinyTrainer(plan, rows)
    run(first, at)
    await saveCheckpoint(output, first, 1, () => {})
    freeTrainer(first)
    manualSeed(999)
    const second = tinyTrainer({ ...plan, resume: true, seed: plan.seed }, rows)
    resumeFrom(await findCheckpoint(output, true, assert.fail), second, (code, message) => assert.fail(`${code}: ${message}`))
    assert.deepEqual(run(second, second.parts.windows.totalSteps), losses.slice(at))
    assert.ok(bits(second).equals(bits(whole)))
    assert.ok(losses.every(Number.isFinite))
    freeTrainer(second)
    freeTrainer(whole)
  })
}

test('how the window is cut into batches changes neither loss nor gradient', () => {
  const seen = [{ size: 4, accumulate: 1, tokens: null }, { size: 2, accumulate: 2, tokens: null }, { size: 1, accumulate: 4, tokens: null }].map((cut) => {
    const trainer = tinyTrainer(trainerPlan({ ...common, prefix: projected, batch: { ...cut, evalSize: 4 } }), rows), { loss, gradNorm } = trainer.next()
    freeTrainer(trainer)
    return { loss, gradNorm }
  })
  for (const { loss, gradNorm } of seen) assert.ok(Math.abs(loss - seen[0].loss) < 1e-5 && Math.abs(gradNorm / seen[0].gradNorm - 1) < 1e-4, JSON.stringify(seen))
})

test('a run trains a prefix, samples with it, saves it in PEFT layout, and another goes on from it', async (t) => {
  const folder = temporaryFolder(t), generation: Plan['sample']['generation'] = { maxNewTokens: 6, minNewTokens: 0, temperature: 0, topK: 0, topP: 1, seed: 0, stop: [] }
  const plan = workerPlan(folder, {
    method: 'prefix', prefix: projected, precision: 'bf16', optimizer, steps: 4, evalAtEnd: true, evaluate: { by: 'steps', every: 2 }, output: path.join(folder, 'first'),
    sample: { cadence: { by: 'steps', every: 2 }, prompts: [], generation }, save: { cadence: { by: 'steps', every: 2 }, keep: 1 },
  })
  const worker = startWorker(t, plan)
  assert.equal((await worker.event('done')).atStep, 4)
  const { texts } = await worker.command({ name: 'generate', prompts: ['n 3'], generation, chat: true })
  assert.equal(texts.length, 1)
  assert.equal(await worker.close(), 0)
  assert.deepEqual(fs.readdirSync(plan.output).filter((name) => /^adapter|^prefix/.test(name)).sort(), ['adapter_config.json', 'adapter_model.safetensors', 'prefix_encoder.safetensors'])
  const config = JSON.parse(fs.readFileSync(path.join(plan.output, 'adapter_config.json'), 'utf8')) as Record<string, unknown>
  assert.deepEqual([config['peft_type'], config['num_virtual_tokens'], config['prefix_projection'], config['encoder_hidden_size'], config['token_dim']], ['PREFIX_TUNING', 6, true, 20, 16])
  assert.deepEqual([...readSafetensors(path.join(plan.output, 'adapter_model.safetensors'))].map(([name, { shape }]) => [name, ...shape]), [['prompt_embeddings', 6, 96]])

  const second = workerPlan(folder, { method: 'prefix', prefix: { ...defaultPrefix, from: plan.output }, optimizer: { ...optimizer, learningRate: 1e-9, weightDecay: 0 }, steps: 1, output: path.join(folder, 'second') })
  const next = startWorker(t, second)
  await next.event('done')
  await next.close()
  const of = (output: string): Float32Array => scope(() => readSafetensors(path.join(output, 'adapter_model.safetensors')).get('prompt_embeddings')!.toFloat32Array())
  const before = of(plan.output), after = of(second.output)
  assert.ok(before.every((value, i) => Math.abs(value - after[i]) < 1e-5))
})

test('a folder of another kind, or without the network that is asked for, is refused', async (t) => {
  const folder = temporaryFolder(t)
  for (const [from, change, code] of [[fixture('golden', 'lora-llama'), {}, 'prefix.kind'], [fixture('golden', 'prefix-llama'), { projection: true }, 'prefix.projection']] as const) {
    const worker = startWorker(t, workerPlan(folder, { method: 'prefix', prefix: { ...defaultPrefix, from, ...change }, steps: 1, output: path.join(folder, code) }))
    assert.equal((await worker.event('failed')).error.code, code)
    await worker.exit
  }
})
