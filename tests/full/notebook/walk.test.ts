import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'node:test'
import type { RunEvent } from 'fettle'
import { exportHtml } from 'fettle-kernel/dist/html'
import { watch } from '../../support/browser'
import { board, boardOf, chatBox, Lab, labMissing, prepareRun, runCell, type LabPage } from '../../support/lab'

const eventsOf = (folder: string) => fs.readFileSync(path.join(folder, 'out', 'metrics.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as RunEvent)
const commandsOf = (folder: string) => eventsOf(folder).flatMap((event) => event.type === 'command' ? [event.command] : [])

/** The curve grows, and each button does what it says. */
async function useBoard(lab: LabPage, folder: string): Promise<void> {
  const { page } = lab
  const before = (await lab.points('loss'))[0]
  await lab.until(`(document.querySelector('${board} [data-fettle="board/loss"]')?.data?.[0].x.length ?? 0) > ${before}`, 'the curve grows')
  await lab.press('pause', /paused/)
  await lab.statusIs('paused')
  const step = await lab.step()
  await lab.press('save', /saved checkpoint/)
  assert.equal(await lab.step(), step, 'a paused run stands still')
  await lab.press('resume', /training again/)
  await lab.stepAbove(step + 5)
  await page.fill(`${board} .fb-input`, '5e-4')
  await lab.press('set', /learning rate 5e-4/)
  await lab.until(`document.querySelector('${board} [data-fettle="board/learning-rate"]')?.data?.[0].y.at(-1) === 5e-4`, 'the chart shows the new rate')
  assert.ok(eventsOf(folder).some((event) => event.type === 'step' && event.learningRate === 5e-4))
  await lab.press('sample', /sampled/)
  await lab.press('evaluate', /evaluated: loss/)
  assert.deepEqual(commandsOf(folder), ['pause', 'save', 'resume', 'set', 'sample', 'evaluate'])
}

/** The slider goes back through the samples by keyboard, and follows the newest again at its end. */
async function useSlider(lab: LabPage): Promise<void> {
  const { page } = lab
  const heading = () => page.textContent(`${board} th[scope=col][data-column=answer]`)
  await lab.until(`Number(document.querySelector('${board} .fb-slider')?.max) >= 2`, 'three samplings')
  await page.focus(`${board} .fb-slider`)
  await page.keyboard.press('Home')
  assert.equal(await heading(), 'Tuned, no step yet')
  await page.keyboard.press('ArrowRight')
  const first = await heading()
  assert.match(first!, /^Tuned, step \d+$/)
  await lab.stepAbove(await lab.step() + 200)
  assert.equal(await heading(), first, 'the slider stays where it was put')
  await page.keyboard.press('End')
}

/** What the notebook's export shows, with scripts and without. */
async function readExport(lab: Lab, file: string, theme: string): Promise<void> {
  const html = path.join(lab.folder, 'walk.html')
  await exportHtml(file, html)
  const page = await lab.context.newPage()
  const seen = watch(page)
  await page.goto(pathToFileURL(html).href)
  await page.waitForSelector('.fettle-board [data-fettle="board/loss"] .trace path', { timeout: 60_000 })
  assert.equal(await page.getAttribute('.fettle-board .fb-status', 'data-status'), 'stopped', theme)
  assert.equal(await page.locator('.fettle-board .fb-controls:visible').count(), 0)
  assert.deepEqual(seen, { errors: [], remote: [] })
  await page.close()
  const plain = await (await lab.context.browser()!.newContext({ javaScriptEnabled: false })).newPage()
  const plainSeen = watch(plain)
  await plain.goto(pathToFileURL(html).href)
  await plain.locator('.fettle-board img[src^="data:image/svg+xml"]').first().waitFor({ state: 'visible' })
  assert.match(await plain.locator('.jp-OutputArea').first().innerText(), /Stopped/i)
  assert.deepEqual(plainSeen, { errors: [], remote: [] })
  await plain.close()
}

/** Both sides of a chat answer, piece by piece. */
async function useChat(lab: LabPage): Promise<void> {
  const { page } = lab
  await lab.run(1)
  await page.waitForSelector(`${chatBox} textarea:visible`, { timeout: 60_000 })
  await page.evaluate(`new MutationObserver(() => {
    globalThis.grew ||= [...document.querySelectorAll('${chatBox} .fb-answer-text[aria-busy]')].some((text) => text.textContent !== '')
  }).observe(document.querySelector('${chatBox}'), { subtree: true, childList: true, characterData: true, attributes: true })`)
  // On a busy machine an answer of a tiny model may come whole, between two looks of the page; hardly three of them.
  for (let asked = 1; asked <= 3 && await page.evaluate('globalThis.grew') !== true; asked++) {
    await page.fill(`${chatBox} textarea`, 'n 3: ab')
    await page.keyboard.press('Enter')
    await lab.until(`(() => {
      const texts = [...document.querySelectorAll('${chatBox} .fb-answer-text')]
      return texts.length === ${2 * asked} && texts.every((text) => text.textContent !== '' && !text.hasAttribute('aria-busy')) && document.querySelector('${chatBox} .fb-question').textContent === 'n 3: ab'
    })()`, 'both sides have answered')
  }
  assert.equal(await page.evaluate('globalThis.grew'), true, 'an answer was read while it grew')
}

for (const theme of ['light', 'dark'] as const)
  test(`a user's walk through a run in JupyterLab: ${theme}`, { skip: labMissing, timeout: 400_000 }, async (t) => {
    const lab = await Lab.open(t, { theme })
    prepareRun(lab.folder)
    const tab = await lab.notebook([`${runCell(lab.folder)}\nconsole.log('steps', run.metrics.numRows)`, 'await chat(run, { maxNewTokens: 400 })'])
    const { page } = tab
    await tab.run(0)
    await tab.statusIs('training')
    const [begun, bytes] = [Date.now(), tab.bytes]
    await page.waitForSelector(`${board} [data-fettle="board/loss"] .trace path`)
    assert.equal(await page.getAttribute(`${board} .fettle-board`, 'data-theme'), theme)
    await useBoard(tab, lab.folder)
    await useSlider(tab)

    await page.reload()
    await tab.ready()
    await tab.statusIs('training')
    await tab.stepAbove(await tab.step())
    assert.equal(await page.locator(board).count(), 1)
    await tab.press('pause', /paused/)
    await tab.press('resume', /training again/)

    await page.click(`${board} [data-command="stop"]`)
    assert.ok(!commandsOf(lab.folder).includes('stop'), 'stop asks first')
    const rate = (tab.bytes - bytes) / (Date.now() - begun)
    assert.ok(rate < 50, `${rate} kB/s came to the page`)
    t.diagnostic(`${rate.toFixed(1)} kB/s came to the page`)
    await page.click(`${board} .fb-danger`)
    await tab.statusIs('stopped')
    await tab.idle()
    await tab.keeps('stopped')
    assert.ok(fs.readdirSync(path.join(lab.folder, 'out')).some((name) => name.startsWith('checkpoint')), 'a checkpoint is there')
    await useChat(tab)
    const saved = await tab.save()
    assert.ok(saved.size < 1.5e6, `${saved.size} bytes`)
    assert.equal(boardOf(saved.outputs[0])?.state.status, 'stopped')
    assert.deepEqual([tab.seen, tab.dialogs], [{ errors: [], remote: [] }, []])
    await page.close()

    for (const { id } of await lab.kernels()) await fetch(`${lab.server.url}api/kernels/${id}`, { method: 'DELETE', headers: { Authorization: `token ${lab.server.token}` } })
    const again = await lab.tab('walk.ipynb')
    await again.statusIs('stopped')
    await again.page.waitForSelector(`${board} [data-fettle="board/loss"] .trace path`)
    assert.equal(await again.page.locator(`${board} .fb-controls:visible`).count(), 0, 'nobody answers its buttons')
    assert.deepEqual([again.seen, again.dialogs], [{ errors: [], remote: [] }, []])
    await readExport(lab, again.file, theme)
  })
