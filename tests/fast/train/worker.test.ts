import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { readSafetensors } from 'fettle/dist/models/weights'
import { defaultLora } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { temporaryFolder } from '../../support/tiny'
import { readMetrics, startWorker, workerPlan } from '../../support/worker'

const lora: Plan['lora'] = { ...defaultLora, rank: 4, alpha: 8, dropout: 0.1 }
const generation: Plan['sample']['generation'] = { maxNewTokens: 6, minNewTokens: 0, temperature: 0, topK: 0, topP: 1, seed: 0, stop: [] }

test('a LoRA run from start to close: events, checkpoints, final adapter, live answers', async (t) => {
  const folder = temporaryFolder(t)
  const plan = workerPlan(folder, {
    method: 'lora', lora, precision: 'bf16', steps: 5, evalAtEnd: true, evaluate: { by: 'steps', every: 2 },
    sample: { cadence: { by: 'steps', every: 2 }, prompts: [], generation }, save: { cadence: { by: 'steps', every: 2 }, keep: 1 }
  })
  const worker = startWorker(t, plan)
  const done = await worker.event('done')
  assert.deepEqual([done.atStep, done.stopped], [5, false])
  const started = worker.of('started')[0]
  assert.deepEqual([started.totalSteps, started.startStep, started.threads], [5, 0, 1])
  assert.ok(started.trainable > 0 && started.trainable < started.parameters)
  assert.deepEqual(worker.of('prepared').map((event) => [event.split, event.rows]), [['train', 11], ['dev', 3]])
  assert.deepEqual(worker.of('step').map((event) => event.step), [1, 2, 3, 4, 5])
  assert.deepEqual(worker.of('eval').map((event) => event.atStep), [2, 4, 5])
  assert.deepEqual(worker.of('sample').map((event) => event.atStep), [0, 2, 4, 5])
  assert.deepEqual(worker.of('sample')[0].samples.map(({ prompt, reference }) => [prompt, typeof reference]), [['n 11: ab', 'string'], ['n 12: abab', 'string'], ['n 13: ababab', 'string']])
  assert.deepEqual(worker.of('saved').map(({ atStep: step, final }) => [step, final]), [[2, false], [4, false], [5, true]])

  assert.deepEqual(readMetrics(plan.output), worker.events)
  assert.deepEqual(fs.readdirSync(plan.output).filter((name) => name.startsWith('checkpoint')), ['checkpoint-4'])
  assert.ok(fs.existsSync(path.join(plan.output, 'adapter_model.safetensors')))

  const { texts } = await worker.command({ name: 'generate', prompts: ['n 3', 'n 4: a'], generation, chat: true })
  assert.equal(texts.length, 2)
  for (const row of [0, 1]) assert.equal(worker.tokens.filter((token) => token.row === row).map((token) => token.text).join(''), texts[row])
  const evaluated = await worker.command({ name: 'evaluate' })
  assert.equal(evaluated.loss, worker.of('eval')[2].loss)
  assert.equal(await worker.close(), 0)
})

test('when the front goes away the worker stops with a checkpoint and ends', async (t) => {
  const plan = workerPlan(temporaryFolder(t), { method: 'lora', lora, steps: 100_000 })
  const worker = startWorker(t, plan)
  await worker.event('step')
  worker.child.disconnect()
  assert.deepEqual(await worker.exit, { code: 0, signal: null })
  const end = readMetrics(plan.output).at(-1)!
  assert.ok(end.type === 'done' && end.stopped && end.atStep > 0)
  assert.ok(fs.existsSync(path.join(plan.output, `checkpoint-${end.atStep}`, 'manifest.json')))
})

test('SIGTERM is a clean stop', async (t) => {
  const plan = workerPlan(temporaryFolder(t), { method: 'lora', lora, steps: 100_000 })
  const worker = startWorker(t, plan)
  await worker.event('step')
  worker.child.kill('SIGTERM')
  assert.equal((await worker.event('done')).stopped, true)
  assert.deepEqual(await worker.exit, { code: 0, signal: null })
})

test('a stop before the first step ends at once', async (t) => {
  const plan = workerPlan(temporaryFolder(t), { steps: 10 })
  const worker = startWorker(t, plan)
  assert.deepEqual(await worker.command({ name: 'stop' }), { path: null })
  assert.deepEqual(await worker.exit, { code: 0, signal: null })
})

test('what fails is a typed event, in the log too, and an exit code', async (t) => {
  const folder = temporaryFolder(t)
  const plan = workerPlan(folder, { steps: 10 })
  fs.appendFileSync(path.join(folder, 'data', 'train.json'), '{"src": 5}\n')
  const worker = startWorker(t, plan)
  const { error } = await worker.event('failed')
  assert.equal(error.name, 'DataError')
  assert.match(error.message, /train\.json:12/)
  assert.deepEqual(await worker.exit, { code: 1, signal: null })
  assert.equal(readMetrics(plan.output).at(-1)!.type, 'failed')
})

test('killed while it saves, a run goes on from a whole checkpoint', async (t) => {
  const folder = temporaryFolder(t)
  const plan = workerPlan(folder, { steps: 100_000, save: { cadence: { by: 'steps', every: 1 }, keep: 2 } })
  const worker = startWorker(t, plan)
  await worker.event('saved', (event) => event.atStep >= 3)
  worker.child.kill('SIGKILL')
  await worker.exit
  const resumed = startWorker(t, { ...plan, steps: 8, resume: true })
  const done = await resumed.event('done')
  assert.equal(done.stopped, false)
  const steps = readMetrics(plan.output).flatMap((event) => event.type === 'step' ? [event.step] : [])
  assert.deepEqual(steps, Array.from({ length: steps.length }, (_, i) => i + 1))
  await resumed.close()
})
