import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { DataError, ModelError, PlanError, sft, stepOf, WorkerError, type Run, type RunEvent, type Sft, type StepEvent } from 'fettle'
import { isAlive } from 'fettle/dist/process'
import { repoRoot } from '../../support/paths'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

/** A LoRA run on the tiny model, long enough to be interrupted when `steps` says so. */
function tiny(folder: string, steps: number): Sft {
  return sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data')), { maxLength: 64 })
    .lora({ rank: 4 }).steps(steps).batch(2).save({ each: 'never' }).threads(1).output(path.join(folder, 'out'))
}

function closing(t: TestContext, run: Run): Run {
  t.after(async () => { run.kill(); await run.close() })
  return run
}

async function reached(run: Run, type: RunEvent['type'], step = 0): Promise<void> {
  for await (const event of run) if (event.type === type && (stepOf(event) ?? step) >= step) return
  throw new Error(`the run ended before ${type} ${step}`)
}

test('a run from start to close: state, history, result, metrics, live answers', async (t) => {
  const folder = temporaryFolder(t)
  const seen: RunEvent[] = []
  const run = closing(t, await tiny(folder, 4).evaluate({ every: 2 }).start({ onEvent: (event) => seen.push(event) }))
  assert.equal(run.state, 'starting')
  assert.equal(run.dir, path.join(folder, 'out'))
  const early: string[] = []
  const reading = (async () => { for await (const event of run) early.push(event.type) })()
  const result = await run.done
  await reading
  assert.equal(run.state, 'finished')
  const late: string[] = []
  for await (const event of run) late.push(event.type)
  assert.deepEqual(late, early)
  assert.deepEqual(run.events, seen)
  const steps = run.events.filter((event): event is StepEvent => event.type === 'step')
  assert.deepEqual([result.steps, result.stopped, result.loss, result.output], [4, false, steps.at(-1)!.loss, run.dir])
  assert.equal(typeof result.evalLoss, 'number')
  assert.deepEqual(Array.from(run.metrics.getChild('step')!), [1, 2, 3, 4])
  assert.deepEqual(Array.from(run.metrics.getChild('loss')!), steps.map((event) => event.loss))

  assert.ok(run.alive)
  const tokens: [string, number][] = []
  const answers = await run.generate(['n 1', 'n 2'], { maxNewTokens: 6, onToken: (text, row) => tokens.push([text, row]) })
  assert.equal(answers.length, 2)
  for (const row of [0, 1]) assert.equal(tokens.filter(([, at]) => at === row).map(([text]) => text).join(''), answers[row])
  const pieces: string[] = []
  for await (const piece of run.stream('n 1', { maxNewTokens: 6 })) pieces.push(piece)
  assert.equal(pieces.join(''), answers[0])
  assert.equal(await run.generate('n 1', { maxNewTokens: 6 }), answers[0])
  assert.equal((await run.evaluate()).loss, result.evalLoss)
  assert.equal(await run.save(), path.join(run.dir, 'checkpoint-4'))
  await assert.rejects(run.generate('a', { topP: 3 }), (error) => error instanceof PlanError)
  await assert.rejects(run.generate('a', { maxTokens: 3 } as never), /try maxNewTokens/)
  await assert.rejects(run.generate([]), PlanError)
  assert.throws(() => run.stream(5 as never), PlanError)

  await run.close()
  await run.close()
  assert.ok(!run.alive && !isAlive(run.pid))
  await assert.rejects(run.generate('a'), (error) => error instanceof WorkerError && error.code === 'worker.gone')
})

test('commands work while training; stop leaves a checkpoint, and resume goes on to the end', async (t) => {
  const folder = temporaryFolder(t)
  const run = closing(t, await tiny(folder, 100_000).start())
  await reached(run, 'step', 2)
  assert.equal(run.state, 'training')
  assert.equal(typeof await run.generate('n 1', { maxNewTokens: 3 }), 'string')
  assert.ok((await run.evaluate()).loss > 0)
  assert.match(await run.save(), /checkpoint-\d+$/)
  const result = await run.stop()
  assert.deepEqual([run.state, result.stopped], ['stopped', true])
  assert.deepEqual(await run.stop(), result)
  assert.ok(fs.existsSync(path.join(run.dir, `checkpoint-${result.steps}`)))
  await assert.rejects(tiny(folder, result.steps + 2).start(), (error) => error instanceof PlanError && error.code === 'plan.outputNotEmpty' && /\.resume\(\)/.test(error.message))
  // The idle worker of the stopped run gives the folder up by itself.
  const second = closing(t, await tiny(folder, result.steps + 2).resume().start())
  assert.ok(!run.alive)
  assert.equal((await second.done).steps, result.steps + 2)
  assert.deepEqual(Array.from(second.metrics.getChild('step')!), [result.steps + 1, result.steps + 2])
})

test('kill -9 is a typed error within 2 s, told once to everyone, and the front goes on', async (t) => {
  const run = closing(t, await tiny(temporaryFolder(t), 100_000).start())
  await reached(run, 'step', 1)
  const pending = run.generate('n 1', { maxNewTokens: 100_000 }).catch((error) => error)
  const killed = Date.now()
  process.kill(run.pid, 'SIGKILL')
  const error = await run.done.then(() => null, (reason) => reason)
  assert.ok(Date.now() - killed < 2000)
  assert.ok(error instanceof WorkerError)
  assert.equal(error.code, 'worker.killed')
  assert.deepEqual([error.details.signal, error.details.rank, error.details.pid], ['SIGKILL', 0, run.pid])
  assert.match(error.message, /rank 0 .* was killed by SIGKILL after step \d+; likely cause: .*; start again from the beginning: no checkpoint had been written; if memory was short/)
  assert.ok(await pending instanceof WorkerError)
  assert.equal(run.state, 'failed')
  assert.equal(run.events.at(-1)!.type, 'failed')
  await assert.rejects(run.stop(), (again) => again === error)
  const last = fs.readFileSync(path.join(run.dir, 'metrics.jsonl'), 'utf8').trimEnd().split('\n').at(-1)!
  assert.equal(JSON.parse(last).error.code, 'worker.killed')
  const again = closing(t, await tiny(temporaryFolder(t), 1).start())
  assert.equal((await again.done).steps, 1)
})

test("a worker's own failure arrives under its class, also when nobody waits for it", async (t) => {
  const folder = temporaryFolder(t)
  const builder = tiny(folder, 2)
  fs.writeFileSync(path.join(folder, 'data', 'train.json'), '{"src": "a", "tgt": "b"}\n{"src": 5, "tgt": "b"}\n')
  const bad = closing(t, await builder.start())
  while (bad.state !== 'failed') await new Promise((resolve) => setTimeout(resolve, 20))
  await assert.rejects(bad.done, (error) => error instanceof DataError && /train\.json:2/.test(error.message))
  const model = path.join(folder, 'no-model')
  fs.mkdirSync(model)
  const broken = closing(t, await sft(model).data(path.join(folder, 'data')).output(path.join(folder, 'b')).start())
  await assert.rejects(broken.done, ModelError)
})

test('two runs never write to one folder', async (t) => {
  const builder = tiny(temporaryFolder(t), 100_000).overwrite()
  const run = closing(t, await builder.start())
  await assert.rejects(builder.start(), (error) => error instanceof PlanError && error.code === 'plan.outputBusy')
  await reached(run, 'started')
  const script = `require('fettle').start(JSON.parse(process.argv[1])).catch((e) => console.log(e.code))`
  const child = spawn(process.execPath, ['-e', script, JSON.stringify(builder.plan)], { cwd: repoRoot, stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', (data) => { out += data })
  await new Promise((resolve) => child.on('close', resolve))
  assert.equal(out.trim(), 'plan.outputBusy')
})

for (const ending of ['SIGKILL', 'exit'] as const) {
  test(`a front that ends by ${ending} takes its worker with it`, async (t) => {
    const { plan } = tiny(temporaryFolder(t), 100_000)
    const script = `require('fettle').start(JSON.parse(process.argv[1])).then(async (run) => { for await (const e of run) if (e.type === 'step' && e.step === 2) { console.log(run.pid); ${ending === 'exit' ? 'process.exit(0)' : ''} } })`
    const child = spawn(process.execPath, ['-e', script, JSON.stringify(plan)], { cwd: repoRoot, stdio: ['ignore', 'pipe', 'inherit'] })
    const pid = await new Promise<number>((resolve) => child.stdout.once('data', (data) => resolve(Number(data))))
    if (ending === 'SIGKILL') child.kill('SIGKILL')
    const deadline = Date.now() + 10_000
    while (isAlive(pid) && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.ok(!isAlive(pid))
  })
}

test('a script that never closes its run still ends', async (t) => {
  const { plan } = tiny(temporaryFolder(t), 1)
  const script = `require('fettle').start(JSON.parse(process.argv[1])).then(async (run) => { await run.done; console.log(await run.generate('a', { maxNewTokens: 2 }).then(() => 'answered')) })`
  const child = spawn(process.execPath, ['-e', script, JSON.stringify(plan)], { cwd: repoRoot, stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', (data) => { out += data })
  assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0)
  assert.equal(out.trim(), 'answered')
})

test('of two starts at once into one folder the second is refused', async (t) => {
  const folder = temporaryFolder(t)
  const plan = sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data')), { maxLength: 64 }).lora().steps(2).threads(1).output(path.join(folder, 'out'))
  const [first, second] = await Promise.allSettled([plan.start(), plan.learningRate(1e-5).start()])
  assert.ok(first.status === 'fulfilled')
  t.after(() => first.value.close())
  assert.ok(second.status === 'rejected' && (second.reason as { code?: string }).code === 'plan.outputBusy')
  await first.value.done
})
