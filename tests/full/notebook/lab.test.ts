import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { startServer, type LocalServer } from 'fettle-kernel'
import { jupyterPython } from 'fettle-kernel/dist/driver/server'
import { boardMime } from 'fettle/dist/views'
import { browserPath, openBrowser, watch } from '../../support/browser'
import { notebookOf } from '../../support/notebook'
import { temporaryFolder } from '../../support/tiny'

const missing = !browserPath() ? 'no Chromium or Chrome'
  : spawnSync(jupyterPython(), ['-c', 'import jupyterlab']).status !== 0 ? 'no JupyterLab; npm run setup -- --with jupyter,lab' : false

/** A run that needs no model: five steps a second until it is stopped, its rate can be set. */
const start = `import { show, type RunEvent } from 'fettle'
let rate = 1e-3, n = 0, end = () => {}
const events: RunEvent[] = [{ type: 'started', time: Date.now(), pid: 1, model: 'none', parameters: 1, trainable: 1, totalSteps: 1000, epochs: 1, startStep: 0, device: 'cpu', blocks: 'plain', threads: 1 }]
const step = (n: number): RunEvent => ({ type: 'step', time: Date.now(), step: n, totalSteps: 1000, epoch: n / 1000, loss: 3 / n, learningRate: rate, gradNorm: 1, tokens: 100, supervised: 10, ms: 100, tokensPerSecond: 1000, memory: 100, faults: 0, utilisation: 0.9 })
const timer = setInterval(() => { events.push(step(++n)) }, 200)
const done = new Promise<void>((resolve) => { end = () => {
  clearInterval(timer)
  events.push({ type: 'done', time: Date.now(), atStep: n, stopped: true, output: 'o', ms: 6000 })
  resolve()
} })
show({
  id: 'the-run', events, done, stop: async () => end(),
  set: async ({ learningRate }) => { rate = learningRate }, save: async () => { throw new Error('the disk is full; free some of it') },
})`

const board = '.fettle-lab-board'

/** Waits until the kernel of the page has answered it. */
async function kernelReady({ url, token }: LocalServer, page: Page): Promise<void> {
  for (const end = Date.now() + 120_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 200))) {
    const kernels = await (await fetch(`${url}api/kernels`, { headers: { Authorization: `token ${token}` } })).json() as { execution_state: string; connections: number }[]
    if (kernels.some((kernel) => kernel.execution_state === 'idle' && kernel.connections > 0)) break
  }
  await page.waitForTimeout(1_000)
  // JupyterLab drops a cell that is run before it has its kernel, whatever its indicator says.
  await page.waitForSelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', { timeout: 120_000 })
}

/** Opens JupyterLab on a notebook of these cells and runs the first. */
async function openLab(t: import('node:test').TestContext, cells: readonly string[]): Promise<{ page: Page; file: string; seen: ReturnType<typeof watch> }> {
  const folder = temporaryFolder(t)
  const file = notebookOf(folder, cells, 'live.ipynb')
  const server = await startServer({ root: folder, module: 'jupyterlab' })
  t.after(() => server.stop())
  const browser = await openBrowser()
  t.after(() => browser.close())
  const page = await browser.newPage({ viewport: { width: 1300, height: 1000 } })
  page.on('dialog', (dialog) => { void dialog.accept() })
  const seen = watch(page)
  await page.goto(`${server.url}lab/tree/live.ipynb?token=${server.token}`)
  await kernelReady(server, page)
  await page.click('.jp-Notebook .jp-CodeCell .cm-content')
  await page.keyboard.press('Shift+Enter')
  await page.waitForSelector(`${board} .fb-status[data-status="training"]`, { timeout: 60_000 })
  return { page, file, seen }
}

/** Presses a button of the board and waits for what it says. */
async function press(page: Page, command: string, says: RegExp): Promise<void> {
  await page.click(`${board} [data-command="${command}"]`)
  if (command === 'stop') await page.click(`${board} .fb-danger`)
  await page.waitForFunction(`${says}.test(document.querySelector('${board} .fb-reply')?.textContent ?? '')`, undefined, { timeout: 20_000 })
}

const status = (page: Page) => page.getAttribute(`${board} .fb-status`, 'data-status')
const stepIs = (page: Page, above: number) => page.waitForFunction(
  `Number(/([\\d,]+) \\/ 1,000/.exec(document.querySelector('${board}')?.textContent ?? '')?.[1].replace(',', '')) > ${above}`, undefined, { timeout: 20_000 })

async function save(page: Page): Promise<void> {
  await page.click('.jp-Notebook .cm-content')
  await page.keyboard.press('Control+s')
  await page.waitForFunction('!document.querySelector(".jp-mod-dirty")', undefined, { timeout: 20_000 })
}

test('a board lives under its cell in JupyterLab: in place, with buttons while the cell waits, across a reload, to what is saved', { skip: missing }, async (t) => {
  const { page, file, seen } = await openLab(t, [`${start}\nawait done`])
  await page.waitForSelector(`${board} .fb-plot .trace`, { timeout: 30_000 })
  await page.evaluate(`window.panel = document.querySelector('${board} section')`)
  await stepIs(page, 15)
  assert.equal(await page.evaluate(`window.panel === document.querySelector('${board} section')`), true, 'the panel was not made again')
  await press(page, 'save', /the disk is full; free some of it/)
  await page.fill(`${board} .fb-input`, '5e-5')
  await press(page, 'set', /learning rate 5e-5/)
  assert.equal(await page.getAttribute('.jp-Notebook-ExecutionIndicator', 'data-status'), 'busy', 'the cell still runs')
  // The notebook was never saved with the board: the kernel tells the page of it.
  await page.reload()
  await page.waitForSelector(`${board} .fb-status[data-status="training"]`, { timeout: 60_000 })
  await stepIs(page, 30)
  assert.equal(await page.locator(board).count(), 1)
  await press(page, 'stop', /stopped/)
  assert.equal(await status(page), 'stopped')
  // What is kept of it comes a moment later.
  await page.waitForTimeout(4_000)
  await save(page)
  const outputs = JSON.parse(fs.readFileSync(file, 'utf8')).cells[0].outputs
  assert.equal(outputs.length, 1)
  const { state } = outputs[0].data[boardMime]
  assert.deepEqual([state.status, state.learningRate], ['stopped', 5e-5])
  assert.match(outputs[0].data['text/html'].join(''), /src="data:image\/svg\+xml/)
  assert.ok(fs.statSync(file).size < 1.5e6)
  await page.reload()
  await page.waitForSelector(`${board} .fb-status[data-status="stopped"]`, { timeout: 60_000 })
  assert.equal(await page.locator(board).count(), 1)
  assert.deepEqual(seen, { errors: [], remote: [] })
})

test('buttons work after the cell has returned, and go with the kernel', { skip: missing }, async (t) => {
  const { page, seen } = await openLab(t, [start])
  await page.waitForSelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', { timeout: 20_000 })
  await stepIs(page, 5)
  await press(page, 'save', /the disk is full/)
  await page.keyboard.press('Escape')
  await page.click('.lm-MenuBar-itemLabel:text-is("Kernel")')
  await page.click('.lm-Menu-itemLabel:text-is("Restart Kernel…")')
  await page.click('.jp-Dialog .jp-mod-accept')
  await page.waitForSelector(`${board} .fb-controls`, { state: 'hidden', timeout: 20_000 })
  assert.equal(await status(page), 'training', 'its last state stays')
  // The new kernel is linked like the first.
  await page.waitForSelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', { timeout: 60_000 })
  await page.waitForTimeout(1_000)
  await page.click('.jp-Notebook .jp-CodeCell .cm-content')
  await page.keyboard.press('Shift+Enter')
  await page.waitForSelector(`${board} .fb-controls`, { state: 'visible', timeout: 60_000 })
  await press(page, 'stop', /stopped/)
  assert.deepEqual(seen, { errors: [], remote: [] })
})
