import assert from 'node:assert/strict'
import { execFileSync, fork } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { sft, type FettleError, type Run, type RunEvent, type Sft } from 'fettle'
import { isAlive } from 'fettle/dist/process'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

/** Ranks beside the first one that a worker has started. */
function followersOf(worker: number): number[] {
  const children = fs.readFileSync(`/proc/${worker}/task/${worker}/children`, 'utf8').trim().split(' ').map(Number)
  return children.filter((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('follower-process'))
}

async function until(what: string, holds: () => boolean, ms = 60_000): Promise<void> {
  for (const end = Date.now() + ms; !holds();) {
    assert.ok(Date.now() < end, `waited ${ms} ms for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

interface Started { readonly run: Run; readonly events: RunEvent[]; readonly followers: readonly number[] }

/** A run on two ranks that has taken some steps. */
async function started(t: TestContext, divided: (builder: Sft) => Sft): Promise<Started> {
  const folder = temporaryFolder(t)
  const builder = sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data')), { maxLength: 64, srcLength: 32, template: 'none' })
    .batch(2).steps(100_000).device('cpu').output(path.join(folder, 'out')).save({ every: 5 })
  const events: RunEvent[] = []
  const run = await divided(builder).start({ onEvent: (event) => events.push(event), board: false })
  t.after(() => { run.kill(); return run.close() })
  await until('eight steps', () => events.filter(({ type }) => type === 'step').length >= 8)
  return { run, events, followers: followersOf(run.pid) }
}

async function failure(run: Run): Promise<FettleError> {
  return run.done.then(() => assert.fail('the run went on'), (error: FettleError) => error)
}

test('a rank that is killed is named at once, and nothing is left', async (t) => {
  const { run, followers: [rank] } = await started(t, (builder) => builder.tp(2)), before = Date.now()
  process.kill(rank, 'SIGKILL')
  const error = await failure(run)
  assert.equal(error.code, 'worker.killed')
  assert.match(error.message, /rank 1 of 2 \(process \d+\) was killed by SIGKILL.*resume/is)
  assert.ok(Date.now() - before < 10_000)
  await until('the end of all', () => !isAlive(run.pid) && !isAlive(rank), 15_000)
})

test('a rank that is stopped is found within ten seconds, and it is not one of those that wait for it', async (t) => {
  const { run, followers: [rank] } = await started(t, (builder) => builder.dp(2)), before = Date.now()
  process.kill(rank, 'SIGSTOP')
  const error = await failure(run)
  assert.equal(error.code, 'worker.hung')
  assert.match(error.message, /rank 1 of 2 .* is stopped, and the others waited for it/)
  assert.ok(Date.now() - before < 12_000, `after ${Date.now() - before} ms`)
  await until('the end of all', () => !isAlive(run.pid) && !isAlive(rank), 15_000)
})

test('a first rank that is stopped is found by its front', async (t) => {
  const { run, followers: [rank] } = await started(t, (builder) => builder.pp(2)), before = Date.now()
  process.kill(run.pid, 'SIGSTOP')
  const error = await failure(run)
  assert.equal(error.code, 'worker.hung')
  assert.match(error.message, /rank 0 .* hangs/)
  assert.ok(Date.now() - before < 15_000, `after ${Date.now() - before} ms`)
  await until('the end of all', () => !isAlive(run.pid) && !isAlive(rank), 15_000)
})

test('a first rank that is killed takes the others with it, even one that is stopped', async (t) => {
  const { run, followers: [rank] } = await started(t, (builder) => builder.tp(2))
  process.kill(rank, 'SIGSTOP')
  process.kill(run.pid, 'SIGKILL')
  assert.match((await failure(run)).message, /rank 0 \(process \d+\) was killed by SIGKILL/)
  await until('the end of the other', () => !isAlive(rank), 10_000)
})

test("a rank that fails of itself shows its own error, not the collective's of the others", async (t) => {
  const { run, followers: [rank] } = await started(t, (builder) => builder.tp(2))
  // Its next checkpoint finds no file descriptor.
  execFileSync('prlimit', ['--pid', String(rank), '--nofile=3:3'])
  const error = await failure(run)
  assert.match(error.message, /^rank 1\b/)
  assert.doesNotMatch(error.message, /Connection (closed|reset)/)
  await until('the end of all', () => !isAlive(run.pid) && !isAlive(rank), 15_000)
})

test('the front killed with kill -9 leaves no rank behind', async (t) => {
  const folder = temporaryFolder(t), model = tinyModel(path.join(folder, 'model')), data = tinyData(path.join(folder, 'data')), out = path.join(folder, 'out')
  const front = fork(path.join(__dirname, '..', '..', 'support', 'front.js'), [JSON.stringify({ model, data, out })], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const pid = await new Promise<number>((resolve) => front.once('message', (message) => resolve(message as number)))
  await until('the first checkpoint', () => fs.existsSync(out) && fs.readdirSync(out).some((name) => name.startsWith('checkpoint-')))
  const ranks = [pid, ...followersOf(pid)]
  assert.equal(ranks.length, 2)
  front.kill('SIGKILL')
  await until('the end of all', () => ranks.every((rank) => !isAlive(rank)), 30_000)
})

for (const [who, pick] of [['another rank', ({ followers: [rank] }: Started) => rank], ['the first rank', ({ run }: Started) => run.pid]] as const) {
  test(`with restart a run goes on from its last checkpoint when ${who} is killed`, async (t) => {
    const seen = await started(t, (builder) => builder.dp(2).restart(1)), { run, events } = seen
    process.kill(pick(seen), 'SIGKILL')
    await until('the restart', () => events.some((event) => event.type === 'warning' && event.code === 'run.restart'))
    await until('its second start', () => events.filter(({ type }) => type === 'started').length === 2)
    const [, again] = events.filter((event) => event.type === 'started')
    assert.ok(again.type === 'started' && again.startStep >= 5 && again.startStep % 5 === 0)
    const result = await run.stop()
    assert.ok(result.stopped && result.steps > again.startStep - 1)
  })
}
