import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { PlanError, type CommandEvent, type StepEvent } from 'fettle'
import { readSafetensors } from 'fettle/dist/models/weights'
import { defaultLora } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { closing, reached, tinyRun, until } from '../../support/runs'
import { temporaryFolder } from '../../support/tiny'
import { readMetrics, startWorker, workerPlan } from '../../support/worker'

const lora: Plan['lora'] = { ...defaultLora, rank: 4, alpha: 8, dropout: 0.1 }
const code = (name: string) => (error: unknown): boolean => error instanceof PlanError && error.code === name

test('pause stands still and answers all the while; resume goes on; each command is an event', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).sample({ each: 'never', maxNewTokens: 3 }).start())
  await reached(run, 'step', 2)
  assert.equal(run.progress, null)
  await run.pause()
  assert.equal(run.state, 'paused')
  const at = run.metrics.numRows
  await new Promise((resolve) => setTimeout(resolve, 200))
  assert.match(await run.save(), new RegExp(`checkpoint-${at}$`))
  const sample = await run.sample()
  assert.equal(sample.atStep, at)
  assert.equal(sample.samples.length, 3)
  assert.equal((await run.evaluate()).atStep, at)
  assert.equal(typeof await run.generate('n 1', { maxNewTokens: 3 }), 'string')
  await run.set({ learningRate: 1e-5 })
  await assert.rejects(run.pause(), code('run.state'))
  assert.equal(run.metrics.numRows, at)
  await run.resume()
  assert.equal(run.state, 'training')
  await reached(run, 'step', at + 2)
  await assert.rejects(run.resume(), (error: unknown) => code('run.state')(error) && /expected a run that is paused for resume\(\), got one that is training/.test((error as Error).message))
  await run.pause()
  const result = await run.stop()
  assert.deepEqual([result.stopped, run.state], [true, 'stopped'])
  assert.ok(fs.existsSync(path.join(run.dir, `checkpoint-${result.steps}`)))
  const commands = readMetrics(run.dir).filter((event): event is CommandEvent => event.type === 'command')
  assert.deepEqual(commands.map(({ command }) => command), ['pause', 'save', 'sample', 'evaluate', 'generate', 'set', 'resume', 'pause', 'stop'])
  assert.deepEqual(commands.flatMap((event) => (event.learningRate === undefined ? [] : [event.learningRate])), [1e-5])
  for (const refused of [() => run.pause(), () => run.resume(), () => run.set({ learningRate: 1 })]) await assert.rejects(refused(), code('run.state'))
  // A stop long ago does not cut what is asked now.
  assert.equal((await run.sample()).samples.length, 3)
  assert.ok((await run.evaluate()).loss > 0)
})

test('a rate that is none is refused before it is sent', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).start())
  for (const rate of [-1, NaN, Infinity, '1e-3', undefined]) await assert.rejects(run.set({ learningRate: rate as number }), code('plan.value'))
  for (const settings of [undefined, 1e-4]) await assert.rejects(run.set(settings as never), code('plan.value'))
})

test('commands wait while the run is prepared; stop does not', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).start())
  await run.pause()
  assert.deepEqual([run.state, run.events.some((event) => event.type === 'started'), run.metrics.numRows], ['paused', true, 0])
  await run.stop()
  const early = closing(t, await tinyRun(temporaryFolder(t), 100_000).start())
  const waiting = early.save().catch((error: unknown) => error)
  assert.deepEqual([(await early.stop()).steps, early.state], [0, 'stopped'])
  assert.ok(code('run.state')(await waiting))
})

test('a new rate takes the place of the base rate, under the same schedule', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).learningRate(1e-3).schedule('linear').start())
  await reached(run, 'step', 2)
  await run.pause()
  const at = run.metrics.numRows
  await run.set({ learningRate: 4e-3 })
  await run.resume()
  await reached(run, 'step', at + 1)
  await run.stop()
  const rates = run.events.filter((event): event is StepEvent => event.type === 'step').map(({ learningRate }) => learningRate)
  const factor = (step: number): number => (100_000 - step) / 100_000
  assert.ok(Math.abs(rates[at - 1] - 1e-3 * factor(at - 1)) < 1e-12)
  assert.ok(Math.abs(rates[at] - 4e-3 * factor(at)) < 1e-12)
})

test('a resume goes on with the rate that was set, bit for bit', async (t) => {
  const folder = temporaryFolder(t)
  const begin = async (name: string) => {
    const plan = workerPlan(folder, { method: 'lora', lora, epochs: 25, output: path.join(folder, name) })
    const worker = startWorker(t, plan)
    // Before the first step, so that both runs change the rate at the same one.
    await worker.command({ name: 'pause' })
    await worker.command({ name: 'set', learningRate: 5e-3 })
    await worker.command({ name: 'resume' })
    return { plan, worker }
  }
  const whole = await begin('whole')
  await whole.worker.event('done')
  await whole.worker.close()

  const parts = await begin('parts')
  await parts.worker.event('step', (event) => event.step >= 3)
  const stopped = await parts.worker.command({ name: 'stop' })
  assert.notEqual(stopped.path, null)
  await parts.worker.close()
  const rest = startWorker(t, { ...parts.plan, resume: true })
  await rest.event('done')
  assert.deepEqual(rest.of('warning'), [])
  await rest.close()

  const losses = (name: string): number[] => readMetrics(path.join(folder, name)).flatMap((event) => (event.type === 'step' ? [event.loss, event.learningRate] : []))
  assert.deepEqual(losses('parts'), losses('whole'))
  const [one, two] = ['whole', 'parts'].map((name) => readSafetensors(path.join(folder, name, 'adapter_model.safetensors')))
  for (const [name, tensor] of one) assert.ok(Buffer.from(tensor.toBytes()).equals(Buffer.from(two.get(name)!.toBytes())), name)
})

test('a stop does not wait for a long evaluation or for long samples', async (t) => {
  for (const task of ['evaluate', 'sample'] as const) {
    const folder = temporaryFolder(t)
    const builder = tinyRun(folder, 100_000).sample({ each: 'never', maxNewTokens: 100_000, minNewTokens: 100_000 }).evaluate({ each: 'never' })
    fs.writeFileSync(path.join(folder, 'data', 'dev.json'), '{"src": "n 11: ab", "tgt": "ab"}\n'.repeat(task === 'evaluate' ? 30_000 : 3))
    const run = closing(t, await builder.start())
    await reached(run, 'step', 1)
    const asked = run[task]().catch((error: unknown) => error)
    await reached(run, 'command')
    const result = await run.stop()
    assert.ok(code('run.leaving')(await asked), task)
    assert.ok(!run.events.some((event) => event.type === 'eval' || event.type === 'sample'))
    assert.ok(fs.existsSync(path.join(run.dir, `checkpoint-${result.steps}`)))
  }
})

test('leaving a stream ends its answer, and a stop does not wait for one', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).start())
  await reached(run, 'step', 1)
  const endless = { maxNewTokens: 1_000_000, minNewTokens: 1_000_000 }
  for await (const piece of run.stream('n 1', endless)) if (piece !== '') break
  assert.equal(typeof await run.generate('n 1', { maxNewTokens: 2 }), 'string')
  const pieces: string[] = []
  const answer = run.generate('n 1', { ...endless, onToken: (text) => pieces.push(text) })
  await until('it answers', () => pieces.length > 0)
  await run.stop()
  assert.equal(await answer, pieces.join(''))
})

test('a paused worker whose front goes away, or that is asked to end, stops with a checkpoint', async (t) => {
  for (const end of ['disconnect', 'SIGINT'] as const) {
    const plan = workerPlan(temporaryFolder(t), { method: 'lora', lora, steps: 100_000 })
    const worker = startWorker(t, plan)
    await worker.event('step')
    await worker.command({ name: 'pause' })
    if (end === 'disconnect') worker.child.disconnect()
    else worker.child.kill(end)
    assert.deepEqual(await worker.exit, { code: 0, signal: null })
    const done = readMetrics(plan.output).at(-1)!
    assert.ok(done.type === 'done' && done.stopped && fs.existsSync(path.join(plan.output, `checkpoint-${done.atStep}`)))
  }
})

test('a plan that only evaluates has nothing to pause', async (t) => {
  const plan = workerPlan(temporaryFolder(t), { train: false, evalAtEnd: true })
  const worker = startWorker(t, plan)
  await worker.event('done')
  await assert.rejects(worker.command({ name: 'pause' }), { code: 'run.no-training' })
  assert.equal(await worker.close(), 0)
})
