import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { sft, WorkerError } from 'fettle'
import { launch } from 'fettle/dist/run/start'
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
  const run = await launchProgram(t, "console.log('threads', process.env.OMP_NUM_THREADS, process.execArgv.length); throw new Error('no such library')")
  await assert.rejects(run.done, (error) => error instanceof WorkerError && error.code === 'worker.exited' && error.details.exitCode === 1
    && /before its first step/.test(error.message) && /threads 3 0/.test(fs.readFileSync(path.join(run.dir, 'worker.log'), 'utf8')) && /no such library/.test(error.message))
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
