import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { test } from 'node:test'
import { startServer } from 'fettle-kernel'
import { jupyterPython } from 'fettle-kernel/dist/driver/server'
import { browserPath, drawnPoints, openBrowser, watch } from '../../support/browser'
import { notebookOf } from '../../support/notebook'
import { temporaryFolder } from '../../support/tiny'

const missing = !browserPath() ? 'no Chromium or Chrome'
  : spawnSync(jupyterPython(), ['-c', 'import jupyterlab']).status !== 0 ? 'no JupyterLab; npm run setup -- --with jupyter,lab' : false

/** A run that needs no model: 60 steps in 18 seconds. */
const cell = `import { show, type RunEvent } from 'fettle'
const events: RunEvent[] = [{ type: 'started', time: Date.now(), pid: 1, model: 'none', parameters: 1, trainable: 1, totalSteps: 60, epochs: 1, startStep: 0, device: 'cpu', blocks: 'plain', threads: 1 }]
const step = (n: number): RunEvent => ({ type: 'step', time: Date.now(), step: n, totalSteps: 60, epoch: n / 60, loss: 3 / n, learningRate: 1e-3, gradNorm: 1, tokens: 100, supervised: 10, ms: 100, tokensPerSecond: 1000, memory: 100, faults: 0, utilisation: 0.9 })
const done = new Promise<void>((resolve) => {
  let n = 0
  const timer = setInterval(() => {
    events.push(step(++n))
    if (n < 60) return
    clearInterval(timer)
    events.push({ type: 'done', time: Date.now(), atStep: 60, stopped: false, output: 'o', ms: 6000 })
    resolve()
  }, 300)
})
show({ events, done })
await done`

/** Waits until the kernel of the page has answered it. */
async function kernelReady({ url, token }: { url: string; token: string }): Promise<void> {
  for (const end = Date.now() + 120_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 200))) {
    const kernels = await (await fetch(`${url}api/kernels`, { headers: { Authorization: `token ${token}` } })).json() as { execution_state: string; connections: number }[]
    if (kernels.some((kernel) => kernel.execution_state === 'idle' && kernel.connections > 0)) break
  }
  await new Promise((resolve) => setTimeout(resolve, 1_000))
}

test('charts grow under the cell in JupyterLab, follow its theme, and are there when the notebook is opened again', { skip: missing }, async (t) => {
  const folder = temporaryFolder(t)
  const file = notebookOf(folder, [cell], 'live.ipynb')
  const server = await startServer({ root: folder, module: 'jupyterlab' })
  t.after(() => server.stop())
  const browser = await openBrowser()
  t.after(() => browser.close())
  const page = await browser.newPage({ viewport: { width: 1300, height: 1000 } })
  const seen = watch(page)
  await page.goto(`${server.url}lab/tree/live.ipynb?token=${server.token}`)
  // JupyterLab drops a cell that is run before it has its kernel, whatever its indicator says.
  await kernelReady(server)
  await page.waitForSelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', { timeout: 120_000 })
  await page.click('.jp-Notebook .jp-CodeCell .cm-content')
  await page.keyboard.press('Shift+Enter')
  await page.waitForSelector('[data-fettle$="/loss"] .trace', { timeout: 60_000 })
  const early = (await drawnPoints(page)).loss[0]
  await page.waitForSelector('.fettle-state.fettle-done', { timeout: 60_000 })
  await page.waitForFunction(`document.querySelector('[data-fettle$="/loss"]')?.data?.[0]?.x.length === 60`, undefined, { timeout: 20_000 })
  assert.ok(early < 60, `the charts came alive with ${early} points`)
  const ink = () => page.evaluate(`document.querySelector('[data-fettle$="/loss"]').layout.font.color`)
  const light = await ink()
  await page.click('.lm-MenuBar-itemLabel:text-is("Settings")')
  await page.click('.lm-Menu-itemLabel:text-is("Theme")')
  await page.click('.lm-Menu-itemLabel:text-is("JupyterLab Dark")')
  await page.waitForFunction(`document.querySelector('[data-fettle$="/loss"]').layout.font.color !== ${JSON.stringify(light)}`, undefined, { timeout: 20_000 })
  await page.keyboard.press('Control+s')
  await page.waitForFunction('!document.querySelector(".jp-mod-dirty")', undefined, { timeout: 20_000 })
  assert.ok(fs.statSync(file).size < 2e6)
  await page.reload()
  await page.waitForSelector('[data-fettle$="/loss"] .trace', { timeout: 60_000 })
  assert.equal((await drawnPoints(page)).loss[0], 60)
  assert.deepEqual(seen, { errors: [], remote: [] })
})
