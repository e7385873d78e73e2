import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { boardMime } from 'fettle/dist/views'
import { tinyData, tinyModel } from '../../support/tiny'
import { gone, lives, TestKernel, textOf } from '../../support/notebook'

// A folder that has nothing to do with the checkout: what a cell imports comes from where the kernel was installed.
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-kernel-test-'))
const model = tinyModel(path.join(folder, 'model'))
const data = tinyData(path.join(folder, 'data'), 64)
const startRun = (name: string, steps: number) =>
  `import { sft } from 'fettle'\nconst ${name} = await sft(${JSON.stringify(model)}).data(${JSON.stringify(data)}).lora({ rank: 2 }).steps(${steps}).batch(2).threads(1).output(${JSON.stringify(path.join(folder, name))}).overwrite().start()`

describe('the kernel, from an outside client', () => {
  let kernel: TestKernel
  before(async () => { kernel = await TestKernel.start(folder) })
  after(async () => { await kernel.close(); fs.rmSync(folder, { recursive: true, force: true }) })

  test('a cell shows its last value, waits at top level, and keeps its names', async () => {
    assert.equal(textOf(await kernel.run('let a: number = await Promise.resolve(20)\nconsole.log("hello")\na + 1')), 'hello\n21\n')
    assert.equal(textOf(await kernel.run('a = a + 5\na')), '25\n')
    // A name of an earlier cell as a shorthand property, and in a pattern that assigns.
    assert.equal(textOf(await kernel.run('JSON.stringify({ a, b: [{ a }] })')), '{"a":25,"b":[{"a":25}]}\n')
    assert.equal(textOf(await kernel.run('({ a } = { a: 3 });\na')), '3\n')
    const { content } = await kernel.run('const quiet = 1')
    assert.equal(content.status, 'ok')
  })

  test('a wrong type is told before anything runs', async () => {
    const answer = await kernel.run("import { sft } from 'fettle'\nconsole.log('ran')\nsft('builtin:smollm2-135m').lora({ rnk: 8 })")
    assert.equal(answer.content.status, 'error')
    assert.equal(answer.content.ename, 'TypeScriptError')
    assert.match(answer.content.evalue, /3:\d+ - .*'rnk' does not exist/s)
    assert.match(answer.content.traceback.join('\n'), /lora\(\{ rnk: 8 \}\)/)
    assert.equal(textOf(answer), '')
  })

  test('a typed error says what to do, in one message, with its stack folded', async () => {
    const answer = await kernel.run("import { sft } from 'fettle'\nsft('builtin:smollm2-135m').lora({ rank: -3 })")
    assert.deepEqual([answer.content.status, answer.content.ename], ['error', 'PlanError'])
    assert.match(answer.content.evalue, /rank.*-3/s)
    const traceback = answer.content.traceback.join('\n')
    assert.match(traceback, /stack frames folded/)
    assert.doesNotMatch(traceback, /^\s+at /m)
    const error = answer.heard.find(({ type }) => type === 'error')
    assert.equal(error?.content.ename, 'PlanError')
  })

  test('an error aborts the cells that wait behind it, and no later one', async () => {
    const first = kernel.send('await new Promise((resolve) => setTimeout(resolve, 100))\nthrow new RangeError("stop here")')
    const second = kernel.send('console.log("must not run")')
    assert.equal((await first.answer).content.ename, 'RangeError')
    const aborted = await second.answer
    assert.deepEqual([aborted.content.status, textOf(aborted)], ['aborted', ''])
    assert.equal(textOf(await kernel.run('"again"')), 'again\n')
  })

  test('plans and Arrow tables show as tables', async () => {
    await kernel.run("import { sft } from 'fettle'")
    const plan = await kernel.run("sft('builtin:smollm2-135m').lora({ rank: 4 })")
    const shown = plan.heard.find(({ type }) => type === 'execute_result')?.content.data
    assert.match(shown['text/plain'], /rank\s+4/)
    assert.match(shown['text/html'], />rank<\/th>.*?>4</s)
    const table = await kernel.run("import { tableFromArrays } from 'apache-arrow'\ntableFromArrays({ x: Int32Array.from({ length: 50 }, (_, i) => i) })")
    // Types of packages that only the kernel has are named in later cells too.
    assert.equal((await kernel.run("const fields = tableFromArrays({ x: Int32Array.from([1]) }).schema.fields")).content.status, 'ok')
    assert.equal(textOf(await kernel.run('const again = fields\nagain.length')), '1\n')
    assert.match(textOf(table), /50 rows × 1 columns, first and last 10 shown/)
  })

  test('completion and inspection know the SDK', async () => {
    const { content } = await kernel.client.kernel.requestComplete({ code: "sft('m').learn", cursor_pos: 14 })
    assert.ok(content.status === 'ok' && content.matches.includes('learningRate'))
    const inspected = await kernel.client.kernel.requestInspect({ code: 'sft', cursor_pos: 1, detail_level: 0 })
    assert.ok(inspected.content.status === 'ok' && inspected.content.found)
  })

  test('an interrupt leaves a cell that only waits', async () => {
    const cell = kernel.send('await new Promise(() => {})')
    await new Promise((resolve) => setTimeout(resolve, 500))
    await kernel.client.interrupt()
    assert.equal((await cell.answer).content.ename, 'Interrupted')
  })

  test('a run draws itself under its cell, and an interrupt stops it cleanly', async () => {
    const cell = kernel.send(`${startRun('long', 100_000)}\nconst result = await long.done`)
    // No page with the lab extension listens, so that the output itself brings what draws it.
    const first = await kernel.until(({ parent, type }) => parent === cell.id && type === 'display_data')
    assert.match(first.content.data['text/html'], /window\.fettleLibrary/)
    await kernel.until(({ parent, type, content }) => parent === cell.id && type === 'update_display_data' && content.data[boardMime].state.step > 3 && /fettleBoards/.test(content.data['text/html']))
    await kernel.client.interrupt()
    const answer = await cell.answer
    assert.deepEqual([answer.content.status, answer.content.ename], ['error', 'Interrupted'])
    assert.match(answer.content.evalue, /stopped at step \d+/)
    // The last state of the board comes before the reply, after which a headless client may go.
    const last = answer.heard.filter(({ type }) => type === 'update_display_data').at(-1)!
    assert.equal(last.content.data[boardMime].state.status, 'stopped')
    assert.match(last.content.data['text/html'], /<img [^>]*src="data:image\/svg\+xml/)
    assert.match(last.content.data['text/plain'], /^Stopped/)
    assert.equal(textOf(await kernel.run('[long.state, result.stopped].join()')), 'stopped,true\n')
  })

  test('an interrupt stops the run of an earlier cell that this one waits for, and no other', async () => {
    await kernel.run(startRun('other', 100_000))
    await kernel.run(startRun('later', 100_000))
    const cell = kernel.send('const late = await later.done')
    await kernel.until(({ content }) => /step \d+ of 100,000/.test(content.data?.['text/plain'] ?? ''))
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    await kernel.client.interrupt()
    const { content } = await cell.answer
    assert.deepEqual([content.ename, /stopped at step \d+/.test(content.evalue)], ['Interrupted', true], content.evalue)
    assert.equal(textOf(await kernel.run('late.stopped')), 'true\n')
    assert.equal(textOf(await kernel.run('[(await other.stop()).stopped, (await other.close(), other.alive)].join()')), 'true,false\n')
  })

  test('a worker that dies is a typed error in the cell', async () => {
    await kernel.run(startRun('dying', 100_000))
    const pid = Number(textOf(await kernel.run('dying.pid')))
    const cell = kernel.send('await dying.done')
    process.kill(pid, 'SIGKILL')
    const { content } = await cell.answer
    assert.deepEqual([content.status, content.ename], ['error', 'WorkerError'])
  })

  test('no worker outlives its kernel', async () => {
    await kernel.run(startRun('orphan', 100_000))
    const pid = Number(textOf(await kernel.run('orphan.pid')))
    assert.ok(lives(pid))
    await kernel.client.shutdown()
    assert.ok(await gone(pid, 10_000), `worker ${pid} lives on`)
  })
})

test('a kernel whose server was killed ends, and its worker with it', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-kernel-killed-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  const kernel = await TestKernel.start(folder)
  t.after(() => kernel.server.stop())
  const pid = Number(textOf(await kernel.run('process.pid')))
  kernel.server.process.kill('SIGKILL')
  kernel.client.abandon()
  assert.ok(await gone(pid, 15_000), `kernel ${pid} lives on`)
})
