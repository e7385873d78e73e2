import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as net from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import { attach, FettleError, type RunEvent } from 'fettle'
import { JsonLines, readControl, type ControlRecord } from 'fettle/dist/run/control'
import { closing, leaving, reached, script, tinyRun, until } from '../../support/runs'
import { temporaryFolder } from '../../support/tiny'

const code = (name: string, words = /./) => (error: unknown): boolean => error instanceof FettleError && error.code === name && words.test(error.message)
const mode = (file: string): number => fs.statSync(file).mode & 0o777

test('an attached run has every control, and both handles agree', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).sample({ each: 'never', maxNewTokens: 3 }).start())
  await reached(run, 'step', 1)
  const other = leaving(t, await attach(run.dir, { interval: 20 }))
  assert.deepEqual([other.id, other.state, other.alive, other.detached], [run.id, 'training', true, true])
  assert.equal(mode(path.join(run.dir, 'control.json')), 0o600)
  assert.equal(mode(readControl(run.dir)!.socket!), 0o600)
  await other.pause()
  await until('the starter has heard of the pause', () => run.state === 'paused')
  assert.equal(other.state, 'paused')
  const at = other.metrics.numRows
  await other.set({ learningRate: 1e-5 })
  assert.equal((await other.evaluate()).atStep, at)
  assert.equal((await other.sample()).samples.length, 3)
  assert.match(await other.save(), new RegExp(`checkpoint-${at}$`))
  const whole = await run.generate('n 1', { maxNewTokens: 6 })
  const pieces: string[] = []
  for await (const piece of other.stream('n 1', { maxNewTokens: 6 })) pieces.push(piece)
  assert.equal(pieces.join(''), whole)
  await assert.rejects(other.pause(), code('run.state'))
  await run.resume()
  await reached(other, 'step', at + 2)
  assert.equal(other.state, 'training')
  const [left, right] = await Promise.all([other.stop(), run.done])
  assert.deepEqual([left.steps, left.stopped, other.state], [right.steps, true, 'stopped'])
  // The worker still answers, until its owner closes it.
  assert.equal(typeof await other.generate('n 1', { maxNewTokens: 2 }), 'string')
  await run.close()
  await assert.rejects(other.generate('n 1'), code('worker.gone', /chat\(folder\) or fettle generate/))
  assert.deepEqual(fs.readdirSync(run.dir).filter((name) => name.startsWith('control')), [])
})

test('many fronts at once get their own answers', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).start())
  await reached(run, 'started')
  const fronts = [run, ...await Promise.all([1, 2, 3].map(async () => leaving(t, await attach(run.dir, { interval: 50 }))))]
  await run.pause()
  const prompts = ['n 1', 'n 2: a', 'n 3: ab', 'b']
  const alone: string[] = []
  for (const prompt of prompts) alone.push(await run.generate(prompt, { maxNewTokens: 8, minNewTokens: 8 }))
  const together = await Promise.all(fronts.map(async (front, i) => {
    let streamed = ''
    const [answer, refused] = await Promise.all([
      front.generate(prompts[i], { maxNewTokens: 8, minNewTokens: 8, onToken: (text) => { streamed += text } }),
      front.pause().catch((error: FettleError) => error.code),
    ])
    assert.equal(streamed, answer)
    assert.equal(refused, 'run.state')
    return answer
  }))
  assert.deepEqual(together, alone)
})

test('a front that goes leaves the run and the others alone', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).start())
  await reached(run, 'started')
  const other = script(t, `require('fettle').attach(process.argv[1]).then(async (run) => { await run.pause(); console.log(run.id); run.generate('a', { maxNewTokens: 100000, minNewTokens: 100000 }).catch(() => {}) })`, run.dir)
  assert.equal(await other.line, run.id)
  await until('it answers', () => run.events.some((event) => event.type === 'command' && event.command === 'generate'))
  other.child.kill('SIGKILL')
  // The answer that nobody waits for ends, so that this one begins.
  assert.equal(typeof await run.generate('n 1', { maxNewTokens: 2 }), 'string')
  await run.resume()
  assert.equal(run.state, 'training')
})

test('strangers are not listened to', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).start())
  await reached(run, 'started')
  const { socket, token } = readControl(run.dir)!
  const stop = JSON.stringify({ kind: 'command', id: 1, command: { name: 'stop' } })
  const said = (text: string): Promise<string> => new Promise((resolve) => {
    let heard = ''
    const connection: net.Socket = net.connect(socket!, () => connection.write(text))
    connection.on('data', (data: Buffer) => { heard += data }).on('error', () => {}).on('close', () => resolve(heard))
  })
  for (const text of [`${stop}\n`, `{"kind":"hello","token":"${'0'.repeat(token.length)}"}\n${stop}\n`, '{"kind":"hello"}\n', 'GET / HTTP/1.1\r\n\r\n', 'null\n', 'x'.repeat(5000)]) assert.equal(await said(text), '')
  assert.equal(await said(`{"kind":"hello","token":"${token}"}\nno JSON\n`), '{"kind":"ready"}\n')
  assert.equal(run.state, 'training')
})

test('lines come in any pieces, and none may be too long', () => {
  const text = '{"a":1}\n\n{"b":"€"}\n', expected = [{ a: 1 }, { b: '€' }]
  for (const size of [1, 3, 100]) {
    const lines = new JsonLines(20), got: object[] = []
    for (let i = 0; i < text.length; i += size) got.push(...lines.push(text.slice(i, i + size)))
    assert.deepEqual(got, expected)
  }
  assert.throws(() => [...new JsonLines(20).push(`{"long":"${'x'.repeat(20)}"}\n`)], RangeError)
  assert.throws(() => { const lines = new JsonLines(20); for (let i = 0; i < 21; i++) [...lines.push('[')] }, RangeError)
  assert.throws(() => [...new JsonLines(20).push('7\n')], SyntaxError)
})

test('a command that this version does not know is refused, and stands in no log', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 100_000).start())
  await reached(run, 'started')
  await assert.rejects(run.request({ name: 'dance' } as never), code('run.command', /expected one of stop, pause/))
  assert.ok(!run.events.some((event) => event.type === 'command'))
})

test('an output folder with a long path has its socket elsewhere', async (t) => {
  const folder = temporaryFolder(t), dir = path.join(folder, 'o'.repeat(90), 'out')
  const run = closing(t, await tinyRun(folder, 100_000).output(dir).start())
  await reached(run, 'started')
  const { socket } = readControl(dir)!
  assert.equal(path.dirname(path.dirname(socket!)), os.tmpdir())
  assert.equal(mode(path.dirname(socket!)), 0o700)
  const other = leaving(t, await attach(dir))
  await other.stop()
  await run.close()
  assert.ok(!fs.existsSync(path.dirname(socket!)))
})

test('a killed worker leaves a record that is known as stale, and goes with the next start', async (t) => {
  const folder = temporaryFolder(t)
  const run = closing(t, await tinyRun(folder, 100_000).start())
  await reached(run, 'step', 1)
  run.kill()
  await assert.rejects(run.done, code('worker.killed'))
  const stale = readControl(run.dir)!
  assert.ok(fs.existsSync(stale.socket!))
  const after = await attach(run.dir)
  await assert.rejects(after.done, code('worker.killed'))
  assert.deepEqual([after.state, after.id, after.alive], ['failed', run.id, false])
  await assert.rejects(after.pause(), code('worker.gone', /start again/))
  const next = closing(t, await tinyRun(folder, 1).start())
  await next.done
  assert.notEqual(next.id, run.id)
  assert.ok(!fs.existsSync(stale.socket!))
})

test('runs that cannot be reached say why', async (t) => {
  const folder = temporaryFolder(t)
  const event = (fields: Partial<RunEvent>): string => `${JSON.stringify({ time: Date.now(), ...fields })}\n`
  const started = (pid: number, host?: string): string => event({ type: 'started', run: 'r1', pid, host, model: 'm', totalSteps: 9, startStep: 0 } as Partial<RunEvent>)
  const log = path.join(folder, 'metrics.jsonl'), record = path.join(folder, 'control.json')
  const refuses = async (name: string, words: RegExp): Promise<void> => {
    const run = leaving(t, await attach(folder))
    await assert.rejects(run.pause(), code(name, words))
    await assert.rejects(run.generate('a'), code(name, words))
    assert.equal(run.id, 'r1')
  }
  fs.writeFileSync(log, started(1, 'elsewhere'))
  fs.writeFileSync(record, JSON.stringify({ version: 1, run: 'r1', pid: 1, host: 'elsewhere', time: 1, detached: false, socket: '/nowhere/control.sock', token: 't', plan: { data: {}, sample: { generation: { minNewTokens: 0, maxNewTokens: 5 } } } } satisfies Record<keyof ControlRecord, unknown>))
  await refuses('run.elsewhere', /on the host elsewhere/)
  fs.rmSync(record)
  fs.writeFileSync(log, started(process.pid))
  await refuses('run.noControl', /control\.json is not there/)
  fs.writeFileSync(log, started(2 ** 22 + 1))
  await refuses('worker.gone', /has crashed .*start again/)
  fs.writeFileSync(log, started(2 ** 22 + 1) + event({ type: 'done', atStep: 3, stopped: false, output: folder, ms: 1 }))
  await refuses('worker.gone', /is finished .*chat\(folder\)/)
  // A worker that died before it could say anything.
  fs.writeFileSync(log, '')
  fs.writeFileSync(record, JSON.stringify({ version: 1, run: 'r1', pid: 2 ** 22 + 1, host: os.hostname(), time: 1 }))
  await assert.rejects((await attach(folder)).done, code('worker.vanished'))
})

test('the log of the run before is left alone while a resumed worker has not taken it over', async (t) => {
  const folder = temporaryFolder(t), log = path.join(folder, 'metrics.jsonl'), now = Date.now()
  const line = (time: number, fields: object): string => `${JSON.stringify({ time, ...fields })}\n`
  const step = line(now - 900, { type: 'step', step: 1, loss: 1 })
  fs.writeFileSync(log, line(now - 1000, { type: 'started', run: 'old', pid: process.pid, startStep: 0 }) + step + line(now - 800, { type: 'done', run: 'old', atStep: 1, stopped: true, output: folder, ms: 1 }))
  fs.writeFileSync(path.join(folder, 'control.json'), JSON.stringify({ version: 1, run: 'new', pid: process.pid, host: os.hostname(), time: now - 500, socket: null, token: 't' }))
  const run = leaving(t, await attach(folder, { interval: 20 }))
  assert.deepEqual([run.state, run.events.length, run.id], ['starting', 0, 'new'])
  fs.writeFileSync(`${log}.tmp`, step)
  fs.renameSync(`${log}.tmp`, log)
  fs.appendFileSync(log, line(now, { type: 'started', run: 'new', pid: process.pid, startStep: 1 }))
  await until('it trains', () => run.state === 'training')
  assert.deepEqual([run.events.map(({ type }) => type), run.id], [['step', 'started'], 'new'])
})
