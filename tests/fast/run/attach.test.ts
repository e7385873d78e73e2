import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { attach, PlanError, sft, WorkerError, type RunEvent } from 'fettle'
import { isAlive } from 'fettle/dist/process'
import { until } from '../../support/runs'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

const started = (pid: number, startStep = 0, host?: string): RunEvent =>
  ({ type: 'started', time: Date.now(), pid, host, model: 'm', parameters: 1, trainable: 1, totalSteps: 9, epochs: 1, startStep, device: 'cpu', blocks: 'plain', threads: 1 })
const step = (n: number): RunEvent =>
  ({ type: 'step', time: Date.now(), step: n, totalSteps: 9, epoch: 0, loss: n, learningRate: 1, gradNorm: 1, tokens: 1, supervised: 1, ms: 1, tokensPerSecond: 1, memory: 1, faults: 0, utilisation: 0.9 })
const done = (stopped = false): RunEvent => ({ type: 'done', time: Date.now(), atStep: 2, stopped, output: 'o', ms: 5 })
const lines = (...events: RunEvent[]) => events.map((event) => `${JSON.stringify(event)}\n`).join('')
// A process id that no process has: above the kernel's largest.
const nobody = 2 ** 22 + 1

test('a folder without a log is refused', async (t) => {
  await assert.rejects(attach(temporaryFolder(t)), (error) => error instanceof PlanError && error.code === 'run.noLog')
})

test('finished, stopped, failed and crashed runs are told apart', async (t) => {
  const folder = temporaryFolder(t)
  const log = path.join(folder, 'metrics.jsonl')
  fs.writeFileSync(log, lines(started(nobody), step(1), step(2), done()))
  const finished = await attach(folder)
  assert.deepEqual([finished.state, (await finished.done).steps, finished.metrics.numRows], ['finished', 2, 2])
  fs.writeFileSync(log, lines(started(nobody), step(1), done(true)))
  assert.equal((await attach(folder)).state, 'stopped')
  fs.writeFileSync(log, lines(started(nobody), { type: 'failed', time: 1, error: { name: 'DataError', code: 'data.line', message: 'bad line' } }))
  await assert.rejects((await attach(folder)).done, { name: 'DataError', code: 'data.line' })
  fs.writeFileSync(log, lines(started(nobody), step(3)))
  await assert.rejects((await attach(folder)).done, (error) => error instanceof WorkerError && error.code === 'worker.vanished' && /after step 3/.test(error.message))
})

test('a run on another host counts as alive while it writes', async (t) => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'metrics.jsonl'), lines(started(nobody, 0, 'elsewhere'), step(1)))
  const run = await attach(folder)
  assert.equal(run.state, 'training')
  run.close()
  // Paused, it has nothing to write.
  const long = 60 * 60_000
  fs.writeFileSync(path.join(folder, 'metrics.jsonl'), lines(...[started(nobody, 0, 'elsewhere'), step(1)].map((event) => ({ ...event, time: event.time - long }))))
  await assert.rejects((await attach(folder)).done, { code: 'worker.vanished' })
  fs.appendFileSync(path.join(folder, 'metrics.jsonl'), lines({ type: 'command', time: Date.now() - long, command: 'pause', atStep: 1 }))
  const paused = await attach(folder)
  assert.equal(paused.state, 'paused')
  paused.close()
})

test('a growing log is followed, torn lines and resumes included', async (t) => {
  const folder = temporaryFolder(t)
  const log = path.join(folder, 'metrics.jsonl')
  fs.writeFileSync(log, lines(started(process.pid), step(1), step(2)))
  const run = await attach(folder, { interval: 20 })
  const seen: string[] = []
  const reading = (async () => { for await (const event of run) seen.push(event.type) })()
  const text = lines(step(3))
  fs.appendFileSync(log, text.slice(0, 20))
  await new Promise((resolve) => setTimeout(resolve, 80))
  assert.equal(run.metrics.numRows, 2)
  fs.appendFileSync(log, text.slice(20) + lines(started(process.pid, 1), step(2), done()))
  assert.equal((await run.done).steps, 2)
  await reading
  assert.deepEqual(seen, ['started', 'step', 'step', 'step', 'started', 'step', 'done'])
  assert.deepEqual(Array.from(run.metrics.getChild('step')!), [1, 2])
})

test('a live run of this process is watched to its end', async (t) => {
  const folder = temporaryFolder(t)
  const run = await sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data')), { maxLength: 64 }).lora().steps(3).threads(1).output(path.join(folder, 'out')).start()
  t.after(() => run.close())
  for await (const event of run) if (event.type === 'started') break
  const watched = await attach(run.dir, { interval: 20 })
  assert.equal((await watched.done).steps, 3)
  await run.done
  assert.deepEqual(watched.events.filter((event) => event.type === 'step'), run.events.filter((event) => event.type === 'step'))
})

test('a step without a number keeps NaN, in events and in the table', async (t) => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'metrics.jsonl'), lines(started(process.pid), { ...step(1), loss: NaN } as RunEvent, done()))
  const run = await attach(folder)
  await run.done
  assert.ok(Number.isNaN(run.metrics.getChild('loss')!.get(0)))
  assert.ok(run.events.some((event) => event.type === 'step' && Number.isNaN(event.loss)))
})

test('logs from before utilisation was measured read it as 0', async (t) => {
  const folder = temporaryFolder(t)
  const { utilisation, ...old } = step(1) as Extract<RunEvent, { type: 'step' }>
  fs.writeFileSync(path.join(folder, 'metrics.jsonl'), lines(started(process.pid), old as RunEvent, step(2), done()))
  const run = await attach(folder)
  await run.done
  assert.deepEqual(Array.from(run.metrics.getChild('utilisation')!), [0, utilisation])
})

test('a process that has ended but that nobody fetched is not alive', { skip: !fs.existsSync('/proc/self/stat') && 'no /proc here' }, async (t) => {
  // The program that takes the shell's place knows nothing of the shell's child.
  const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => { parent.kill('SIGKILL') })
  const pid = await new Promise<number>((resolve) => parent.stdout.once('data', (data) => resolve(Number(data))))
  await until('the child has ended', () => !isAlive(pid))
  assert.match(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'), /\) Z /)
})

test('a folder whose worker never wrote anything is no run that starts for ever', async (t) => {
  const dir = temporaryFolder(t)
  const file = path.join(dir, 'metrics.jsonl')
  fs.writeFileSync(file, '')
  fs.utimesSync(file, new Date(0), new Date(0))
  const run = await attach(dir)
  assert.equal(run.state, 'crashed')
  await assert.rejects(run.done, { code: 'worker.vanished' })
})

test('what is no folder is refused with what to write', async () => {
  await assert.rejects(attach(3 as unknown as string), { name: 'PlanError', code: 'plan.value' })
})
