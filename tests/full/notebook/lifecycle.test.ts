import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { attach } from 'fettle'
import { startServer } from 'fettle-kernel'
import { KernelClient } from 'fettle-kernel/dist/driver'
import { isolatedEnvironment, jupyterPython } from 'fettle-kernel/dist/driver/server'
import { installSpec } from 'fettle-kernel/dist/spec'
import { gone, lives, notebookOf, TestKernel, textOf } from '../../support/notebook'
import { tinyData, tinyModel } from '../../support/tiny'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-lifecycle-'))
const model = tinyModel(path.join(folder, 'model'))
const data = tinyData(path.join(folder, 'data'), 64)
const out = (name: string) => path.join(folder, name)

/** A cell that starts a run of many steps. */
const start = (name: string, options = '{}') =>
  `import { sft } from 'fettle'\nconst ${name} = await sft(${JSON.stringify(model)}).data(${JSON.stringify(data)}).lora({ rank: 2 }).steps(100000).batch(2).save({ each: 'never' }).threads(1).output(${JSON.stringify(out(name))}).overwrite().start(${options})\n`

/** A cell that waits for an event of a run. */
const reach = (name: string, condition: string) => `for await (const event of ${name}) if (${condition}) break\n`

const steps = (name: string): number[] => fs.readFileSync(path.join(out(name), 'metrics.jsonl'), 'utf8').split('\n')
  .filter((line) => line !== '').map((line) => JSON.parse(line)).filter(({ type }) => type === 'step').map(({ step }) => step)

const checkpoints = (name: string): string[] => fs.readdirSync(out(name)).filter((file) => file.startsWith('checkpoint-'))

after(() => fs.rmSync(folder, { recursive: true, force: true }))

describe('runs and the life of their kernel', () => {
  let kernel: TestKernel
  before(async () => { kernel = await TestKernel.start(folder) })
  after(() => kernel.close())

  test('an interrupt stops a run that is paused, with a checkpoint', async () => {
    await kernel.run(start('paused') + reach('paused', "event.type === 'step' && event.step >= 3") + 'await paused.pause()')
    const cell = kernel.send("console.log('waiting')\nawait paused.done")
    await kernel.until(({ parent, content }) => parent === cell.id && content.text === 'waiting\n')
    await kernel.client.interrupt()
    const { content } = await cell.answer
    assert.equal(content.ename, 'Interrupted')
    assert.match(content.evalue, /stopped at step \d+/)
    assert.equal(checkpoints('paused').length, 1)
  })

  test('an interrupt stops a run whose events a later cell reads', async () => {
    await kernel.run(start('read'))
    // No other `await` in this cell.
    const cell = kernel.send("for await (const event of read) if (event.type === 'step' && event.step === 2) console.log('two')")
    await kernel.until(({ parent, content }) => parent === cell.id && content.text === 'two\n')
    await kernel.client.interrupt()
    assert.equal((await cell.answer).content.ename, 'Interrupted')
    assert.equal(textOf(await kernel.run('read.state')), 'stopped\n')
  })

  test('a worker that hangs ends its cell with a typed error, and the next cell runs', async () => {
    await kernel.run(start('hung', '{ hangTimeout: 1500 }') + reach('hung', "event.type === 'step'"))
    process.kill(Number(textOf(await kernel.run('hung.pid'))), 'SIGSTOP')
    const { content } = await kernel.run('await hung.done')
    assert.deepEqual([content.ename, /did nothing|hung|no sign|hangTimeout/i.test(content.evalue)], ['WorkerError', true], content.evalue)
    assert.equal(textOf(await kernel.run('1 + 1')), '2\n')
  })

  test('a restart through the server leaves a checkpoint, no worker, and detached runs alone', async () => {
    await kernel.run(start('mine') + reach('mine', "event.type === 'step' && event.step >= 3"))
    await kernel.run(start('apart', '{ detached: true }') + reach('apart', "event.type === 'step'"))
    const [mine, apart] = textOf(await kernel.run('`${mine.pid} ${apart.pid}`')).trim().split(' ').map(Number)
    await kernel.client.kernel.restart()
    assert.ok(await gone(mine, 15_000), `worker ${mine} lives on`)
    assert.equal(checkpoints('mine').length, 1)
    assert.ok(lives(apart))
    const run = await attach(out('apart'))
    assert.equal((await run.stop()).stopped, true)
    assert.deepEqual(steps('apart'), Array.from({ length: steps('apart').length }, (_, i) => i + 1))
    run.close()
    assert.ok(await gone(apart, 15_000))
  })
})

test('kill -9 of a kernel leaves no worker behind, but for a detached run, which a new kernel finds and stops; another kernel is not disturbed', async (t) => {
  const server = await startServer({ root: folder })
  t.after(() => server.stop())
  const [first, second] = await Promise.all([TestKernel.on(server), TestKernel.on(server)])
  await Promise.all([
    first.run(start('bound') + reach('bound', "event.type === 'step'") + start('free', '{ detached: true }').split('\n').slice(1).join('\n') + reach('free', "event.type === 'step'")),
    second.run(start('beside') + reach('beside', "event.type === 'step'")),
  ])
  const [kernel, bound, free] = textOf(await first.run('`${process.pid} ${bound.pid} ${free.pid}`')).trim().split(' ').map(Number)
  process.kill(kernel, 'SIGKILL')
  assert.ok(await gone(bound, 15_000), `worker ${bound} lives on`)
  assert.ok(lives(free))
  const third = await TestKernel.on(server)
  const said = await third.run(`import { attach } from 'fettle'\nconst found = await attach(${JSON.stringify(out('free'))});\n[found.events[0].type, (await found.stop()).stopped].join()`)
  assert.equal(textOf(said), 'prepared,true\n', said.content.evalue)
  assert.equal(textOf(await second.run('[beside.state, (await beside.stop()).stopped].join()')), 'training,true\n')
  assert.deepEqual(steps('beside'), Array.from({ length: steps('beside').length }, (_, i) => i + 1))
  for (const one of [second, third]) await one.client.shutdown()
  first.client.abandon()
})

test('a run stops with a checkpoint when its kernel is shut down', async (t) => {
  const server = await startServer({ root: folder })
  t.after(() => server.stop())
  const kernel = await TestKernel.on(server)
  await kernel.run(start('shut') + reach('shut', "event.type === 'step' && event.step >= 3"))
  const pid = Number(textOf(await kernel.run('shut.pid')))
  await kernel.client.shutdown()
  assert.ok(await gone(pid, 15_000))
  assert.equal(checkpoints('shut').length, 1)
})

test('a cell whose server dies ends with a typed error, and what was there is saved', { timeout: 90_000 }, async (t) => {
  const server = await startServer({ root: folder })
  t.after(() => server.stop())
  const client = await KernelClient.start(server, 'fettle', '')
  const { reply } = client.execute('await new Promise(() => {})', 'x')
  server.process.kill('SIGKILL')
  await assert.rejects(reply, { code: 'notebook.connection' })
  client.abandon()
})

/** Runs a notebook by another client of Jupyter; what it printed, and whether it went through. */
function byPython(module: string, code: string): { ok: boolean; text: string } | null {
  if (spawnSync(jupyterPython(), ['-c', `import ${module}`]).status !== 0) return null
  const home = fs.mkdtempSync(path.join(folder, 'jupyter-'))
  installSpec(path.join(home, 'data', 'kernels', 'fettle'))
  try {
    return { ok: true, text: execFileSync(jupyterPython(), ['-c', code], { env: isolatedEnvironment(home), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }) }
  } catch (error) { return { ok: false, text: String((error as { stderr?: string }).stderr) } }
}

for (const [module, execute] of [
  ['nbclient', (file: string) => `import nbformat\nfrom nbclient import NotebookClient\nn = nbformat.read(${JSON.stringify(file)}, as_version=4)\nNotebookClient(n, kernel_name='fettle').execute()\nprint(n.cells[-1].outputs[0]['data']['text/plain'])`],
  ['papermill', (file: string) => `import papermill\nn = papermill.execute_notebook(${JSON.stringify(file)}, ${JSON.stringify(`${file}.out.ipynb`)}, kernel_name='fettle', progress_bar=False)\nprint(n.cells[-1].outputs[0]['data']['text/plain'])`],
] as const) {
  test(`${module} sees what a cell threw, and stops there unless the cell may fail`, (t) => {
    const file = notebookOf(folder, ["throw new RangeError('too far')", '40 + 2'], `${module}.ipynb`)
    const failed = byPython(module, execute(file))
    if (failed === null) return t.skip(`no ${module} in the Jupyter of the tests`)
    assert.equal(failed.ok, false)
    assert.match(failed.text, /RangeError/)
    assert.match(failed.text, /too far/)
    if (module === 'papermill') return
    const notebook = JSON.parse(fs.readFileSync(file, 'utf8'))
    notebook.cells[0].metadata.tags = ['raises-exception']
    fs.writeFileSync(file, JSON.stringify(notebook))
    assert.deepEqual(byPython(module, execute(file)), { ok: true, text: '42\n' })
  })
}
