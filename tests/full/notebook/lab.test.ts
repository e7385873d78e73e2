import assert from 'node:assert/strict'
import { test } from 'node:test'
import { board, boardOf, Lab, labMissing, type LabPage } from '../../support/lab'

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

/** Opens JupyterLab on a notebook of one cell and runs it. */
async function openLab(t: import('node:test').TestContext, cell: string): Promise<LabPage> {
  const tab = await (await Lab.open(t)).notebook([cell], 'live.ipynb')
  await tab.run(0)
  await tab.statusIs('training')
  return tab
}

test('a board lives under its cell in JupyterLab: in place, with buttons while the cell waits, across a reload, to what is saved', { skip: labMissing }, async (t) => {
  const tab = await openLab(t, `${start}\nawait done`)
  const { page } = tab
  await page.waitForSelector(`${board} .fb-plot .trace`, { timeout: 30_000 })
  await page.evaluate(`window.panel = document.querySelector('${board} section')`)
  await tab.stepAbove(15)
  assert.equal(await page.evaluate(`window.panel === document.querySelector('${board} section')`), true, 'the panel was not made again')
  await tab.press('save', /the disk is full; free some of it/)
  await page.fill(`${board} .fb-input`, '5e-5')
  await tab.press('set', /learning rate 5e-5/)
  assert.equal(await page.getAttribute('.jp-Notebook-ExecutionIndicator', 'data-status'), 'busy', 'the cell still runs')
  // The notebook was never saved with the board: the kernel tells the page of it.
  await page.reload()
  await tab.ready()
  await tab.statusIs('training')
  await tab.stepAbove(30)
  assert.equal(await page.locator(board).count(), 1)
  await tab.press('stop', /stopped/)
  assert.equal(await tab.status(), 'stopped')
  await tab.keeps('stopped')
  const { size, outputs: [outputs] } = await tab.save()
  assert.equal(outputs.length, 1)
  const { state } = boardOf(outputs)!
  assert.deepEqual([state.status, state.learningRate], ['stopped', 5e-5])
  assert.match(outputs[0].data!['text/html'].join(''), /src="data:image\/svg\+xml/)
  assert.ok(size < 1.5e6)
  await page.reload()
  await tab.statusIs('stopped')
  assert.equal(await page.locator(board).count(), 1)
  assert.deepEqual(tab.seen, { errors: [], remote: [] })
})

test('buttons work after the cell has returned, and go with the kernel', { skip: labMissing }, async (t) => {
  const tab = await openLab(t, start)
  const { page } = tab
  await tab.idle()
  await tab.stepAbove(5)
  await tab.press('save', /the disk is full/)
  await page.keyboard.press('Escape')
  await page.click('.lm-MenuBar-itemLabel:text-is("Kernel")')
  await page.click('.lm-Menu-itemLabel:text-is("Restart Kernel…")')
  await page.click('.jp-Dialog .jp-mod-accept')
  await page.waitForSelector(`${board} .fb-controls`, { state: 'hidden', timeout: 20_000 })
  assert.equal(await tab.status(), 'training', 'its last state stays')
  // The new kernel is linked like the first.
  await tab.ready()
  await tab.idle()
  await tab.run(0)
  await page.waitForSelector(`${board} .fb-controls`, { state: 'visible', timeout: 60_000 })
  await tab.press('stop', /stopped/)
  assert.deepEqual(tab.seen, { errors: [], remote: [] })
})
