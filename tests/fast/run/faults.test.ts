import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { sft, WorkerError } from 'fettle'
import { rankFlags } from 'fettle/dist/parallel/processes'
import { defaultPlan } from 'fettle/dist/plan/defaults'
import { explainDeath } from 'fettle/dist/run/death'
import { launch } from 'fettle/dist/run/start'
import { closing, gone, reached, tinyRun } from '../../support/runs'
import { temporaryFolder, tinyData } from '../../support/tiny'

/** Starts a program that is no worker in a worker's place. */
async function launchProgram(t: TestContext, program: string, startTimeout?: number) {
  const folder = temporaryFolder(t)
  const entry = path.join(folder, 'program.js')
  fs.writeFileSync(entry, program)
  const { plan } = sft('m').data(tinyData(path.join(folder, 'data'))).output(path.join(folder, 'out')).threads(3)
  return launch(plan, { startTimeout }, entry)
}

test('a worker that never answers is given up, with the end of its log', async (t) => {
  const run = await launchProgram(t, "console.error('loading the thing'); setInterval(() => {}, 1000)", 1500)
  await assert.rejects(run.done, (error) => error instanceof WorkerError && error.code === 'worker.start' && /within 1\.5 s/.test(error.message) && /loading the thing/.test(error.message))
  await run.close()
  assert.equal(run.state, 'failed')
})

test('a worker that falls over at once quotes its log', async (t) => {
  const run = await launchProgram(t, "console.log('threads', process.env.OMP_NUM_THREADS, process.execArgv.join(' ')); throw new Error('no such library')")
  await assert.rejects(run.done, (error) => error instanceof WorkerError && error.code === 'worker.exited' && error.details.exitCode === 1
    && /before its first step/.test(error.message) && fs.readFileSync(path.join(run.dir, 'worker.log'), 'utf8').startsWith(`threads 3 ${rankFlags.join(' ')}\n`) && /no such library/.test(error.message))
})

test('native faults name what to try', async (t) => {
  for (const [signal, pattern] of [['SIGSEGV', /a fault in native code; try \.blocks\('plain'\)/], ['SIGILL', /a processor instruction/], ['SIGTERM', /asked to end/]] as const) {
    const run = await launchProgram(t, `process.kill(process.pid, '${signal}'); setInterval(() => {}, 1000)`)
    await assert.rejects(run.done, (error) => error instanceof WorkerError && error.details.signal === signal && pattern.test(error.message))
  }
})

test('a failed start leaves the folder free for the next', async (t) => {
  const run = await launchProgram(t, 'process.exit(3)')
  await assert.rejects(run.done)
  const again = await launch(run.plan, {}, path.join(run.dir, '..', 'program.js'))
  await assert.rejects(again.done)
})

test('a worker that hangs is ended, with a typed error; one that is paused or computes is not', { skip: !fs.existsSync('/proc/self/stat') && 'no /proc here' }, async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).start({ hangTimeout: 400 }))
  await reached(run, 'step', 2)
  await run.pause()
  await new Promise((resolve) => setTimeout(resolve, 1000))
  assert.equal(run.state, 'paused')
  await run.resume()
  await new Promise((resolve) => setTimeout(resolve, 600))
  assert.equal(run.state, 'training')
  process.kill(run.pid, 'SIGSTOP')
  const error = await run.done.then(() => null, (reason: unknown) => reason)
  assert.ok(error instanceof WorkerError && error.code === 'worker.hung')
  assert.deepEqual([error.details.pid, error.details.limit, error.details.log], [run.pid, 400, path.join(run.dir, 'worker.log')])
  assert.match(error.message, /rank 0 \(process \d+\) hangs after step \d+: for 0\.4 s .*start again from the beginning.*hangTimeout/)
  await gone(run.pid)
  assert.equal(JSON.parse(fs.readFileSync(path.join(run.dir, 'metrics.jsonl'), 'utf8').trimEnd().split('\n').at(-1)!).error.code, 'worker.hung')
})

test('options of start are checked', async (t) => {
  const builder = tinyRun(temporaryFolder(t), 1)
  for (const options of [{ hangTimeout: 0 }, { startTimeout: NaN }, { detached: 'yes' as never }]) await assert.rejects(builder.start(options), { code: 'plan.value' })
})

test('a kill while the kernel counts one for memory is told as such', () => {
  const death = { pid: 7, code: null, signal: 'SIGKILL' as const, step: 3, memory: 900.4, log: '/none', checkpoint: true, plan: { ...defaultPlan('m'), batch: { size: 8, evalSize: 8, accumulate: 2, tokens: null } } }
  const error = explainDeath({ ...death, oomBefore: { group: -1, machine: -1 } })
  assert.match(error.message, /ran out of memory \(it held 900 MiB\); try \.tokenBudget\(512\)\.recompute\(\), or the fastest way that fits: \.fit\(\)/)
  assert.equal(error.code, 'worker.killed')
})
