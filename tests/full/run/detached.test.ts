import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { test } from 'node:test'
import { attach, FettleError, PlanError, sft } from 'fettle'
import { readControl } from 'fettle/dist/run/control'
import { readLog } from 'fettle/dist/run/read-log'
import { ending, gone, leaving, reached, script, tinyRun, until } from '../../support/runs'
import { temporaryFolder } from '../../support/tiny'

const code = (name: string) => (error: unknown): boolean => error instanceof FettleError && error.code === name
/** Starts a run that outlives the script; what follows the start is `then`. */
const starting = (then: string): string => `require('fettle').start(JSON.parse(process.argv[1]), { detached: true }).then(async (run) => { console.log(run.pid); ${then} })`

for (const [ending_, then] of [['returns at once', ''], ['exits at once', 'process.exit(0)'], ['is killed', 'await run.done']] as const) {
  test(`a detached run outlives its front, which ${ending_}; another picks it up and stops it`, async (t) => {
    const { plan } = tinyRun(temporaryFolder(t), 100_000)
    const front = script(t, starting(then), JSON.stringify(plan))
    const pid = Number(await front.line)
    ending(t, pid)
    if (ending_ === 'is killed') {
      await until('it trains', () => readLog(`${plan.output}/metrics.jsonl`).some((event) => event.type === 'step'))
      front.child.kill('SIGKILL')
    }
    await front.exit
    await until('the worker has said where it is', () => readControl(plan.output) !== null)
    const run = leaving(t, await attach(plan.output, { interval: 20 }))
    await reached(run, 'step', 3)
    await assert.rejects(sft(plan.model).data(plan.data.path!).output(plan.output).start(), (error) => error instanceof PlanError && error.code === 'plan.outputBusy')
    const result = await run.stop()
    assert.equal(result.stopped, true)
    assert.ok(fs.existsSync(`${plan.output}/checkpoint-${result.steps}`))
    // It answers as long as this front stays, and ends with it.
    assert.equal(typeof await run.generate('n 1', { maxNewTokens: 2 }), 'string')
    run.close()
    await gone(pid)
    assert.equal(readControl(plan.output), null)
  })
}

test('a detached run that nobody watches ends by itself, and attach has its whole history', async (t) => {
  const { plan } = tinyRun(temporaryFolder(t), 4)
  const front = script(t, starting(''), JSON.stringify(plan))
  const pid = Number(await front.line)
  ending(t, pid)
  assert.equal((await front.exit).code, 0)
  await gone(pid)
  const run = await attach(plan.output)
  assert.deepEqual([(await run.done).steps, run.state, run.metrics.numRows], [4, 'finished', 4])
  await assert.rejects(run.evaluate(), code('worker.gone'))
})

test('paused without any front, it waits', async (t) => {
  const { plan } = tinyRun(temporaryFolder(t), 100_000)
  const front = script(t, starting('await run.pause()'), JSON.stringify(plan))
  const pid = Number(await front.line)
  ending(t, pid)
  await front.exit
  const events = readLog(`${plan.output}/metrics.jsonl`).length
  await new Promise((resolve) => setTimeout(resolve, 300))
  const run = leaving(t, await attach(plan.output, { interval: 20 }))
  assert.deepEqual([run.state, run.events.length], ['paused', events])
  process.kill(pid, 'SIGTERM')
  assert.equal((await run.done).stopped, true)
  await gone(pid)
})

test('done and close of a detached run in the process that started it', async (t) => {
  const folder = temporaryFolder(t)
  const run = await tinyRun(folder, 100_000).start({ detached: true })
  ending(t, run.pid)
  await reached(run, 'step', 1)
  assert.equal(run.detached, true)
  await run.close()
  await run.close()
  assert.equal(run.alive, false)
  await assert.rejects(run.done, code('run.closed'))
  await assert.rejects(run.generate('a'), code('worker.gone'))
  const again = leaving(t, await attach(run.dir, { interval: 20 }))
  assert.equal(again.id, run.id)
  await reached(again, 'step', again.metrics.numRows + 2)
  await again.stop()
  again.close()
  await assert.rejects(again.pause(), code('run.closed'))
  await gone(run.pid)
})

test('a script that awaits done of a detached run stays until its end', async (t) => {
  const { plan } = tinyRun(temporaryFolder(t), 4)
  const front = script(t, starting('const { steps } = await run.done; console.log(steps)'), JSON.stringify(plan))
  ending(t, Number(await front.line))
  const { code: exit, out } = await front.exit
  assert.deepEqual([exit, out.split('\n')[1]], [0, '4'])
})
