import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { test } from 'node:test'
import { board, chatBox, Lab, labMissing, prepareRun, runCell, type LabPage } from '../../support/lab'

/** Rules of WCAG 2.1 A and AA that a panel breaks, with the elements; contrast is one of them. */
async function broken({ page }: LabPage, panel: string): Promise<string[]> {
  await page.evaluate(`globalThis.axe ?? (0, eval)(${JSON.stringify(fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'))})`)
  return page.evaluate(`axe.run(${JSON.stringify(panel)}, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }).then(({ violations }) =>
    violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ target, any }) => target + ' ' + (any[0]?.message ?? '')).join(' | ')))`)
}

const focused = ({ page }: LabPage): Promise<string> => page.evaluate(`(() => {
  const element = document.activeElement
  return element.closest('${board}') ? element.dataset.command ?? element.className.split(' ')[0] : 'outside'
})()`)

/** Tabs on until an element of the panel has the focus. */
async function tabTo(tab: LabPage, name: string): Promise<void> {
  for (let i = 0; i < 40; i++) {
    if (await focused(tab) === name) return
    await tab.page.keyboard.press('Tab')
  }
  assert.fail(`Tab does not reach ${name}`)
}

/** Every control by the keyboard alone. */
async function useKeys(tab: LabPage): Promise<void> {
  const { page } = tab
  await page.keyboard.press('Escape')
  await tabTo(tab, 'pause')
  await page.keyboard.press('Enter')
  await tab.says(/paused/)
  await tab.until(`document.activeElement.dataset.command === 'resume'`, 'the focus is on the button that took its place')
  await page.keyboard.press('Space')
  await tab.says(/training again/)
  await tabTo(tab, 'stop')
  await page.keyboard.press('Enter')
  await page.waitForSelector(`${board} .fb-ask:visible`)
  await page.keyboard.press('Escape')
  await page.waitForSelector(`${board} .fb-ask`, { state: 'hidden' })
  assert.equal(await focused(tab), 'stop')
  for (const [name, says] of [['save', /saved/], ['sample', /sampled/], ['evaluate', /evaluated/]] as const) {
    await tabTo(tab, name)
    await page.keyboard.press('Space')
    await tab.says(says)
  }
  await tabTo(tab, 'fb-input')
  await page.keyboard.press('Control+a')
  await page.keyboard.type('1e-3')
  await page.keyboard.press('Enter')
  await tab.says(/learning rate 0\.001/)
  await tabTo(tab, 'fb-quiet')
  await tabTo(tab, 'fb-slider')
  const heading = () => page.textContent(`${board} th[scope=col][data-column=answer]`)
  const newest = await heading()
  await page.keyboard.press('ArrowLeft')
  assert.notEqual(await heading(), newest)
  await page.keyboard.press('ArrowRight')
  assert.equal(await page.locator('.jp-Notebook .jp-Cell').count(), 2, 'no key made or removed a cell')
  await tabTo(tab, 'fb-slider')
}

/** What a screen reader reads of the board: roles and names. */
async function readAloud({ page }: LabPage): Promise<void> {
  const tree = await page.locator(`${board} section[aria-label="Training run"]`).ariaSnapshot()
  for (const line of ['progressbar "Progress of the run"', 'group "Controls of the run"', 'button "Pause"', 'button "Stop"', 'button "Save now"', 'button "Sample now"', 'button "Evaluate now"', 'textbox "Learning rate"', 'button "Set"', 'slider "at step"', 'columnheader "Untouched"'])
    assert.ok(tree.includes(line), `${line} in\n${tree}`)
  assert.match(tree, /img "Loss\. each step: from [\d.]+ to [\d.]+, lowest/)
  assert.match(tree, /img "Learning rate/)
}

for (const theme of ['light', 'dark'] as const)
  test(`the panel in JupyterLab by keyboard and screen reader, its contrast: ${theme}`, { skip: labMissing, timeout: 300_000 }, async (t) => {
    const lab = await Lab.open(t, { theme })
    prepareRun(lab.folder)
    const tab = await lab.notebook([runCell(lab.folder), 'await chat(run, { maxNewTokens: 12 })'])
    await tab.run(0)
    await tab.statusIs('training')
    await tab.until(`Number(document.querySelector('${board} .fb-slider')?.max) >= 2`, 'three samplings')
    assert.deepEqual(await broken(tab, board), [])
    await readAloud(tab)
    await useKeys(tab)
    await tab.press('stop', /stopped/)
    await tab.idle()
    assert.deepEqual(await broken(tab, board), [], 'stopped')
    await tab.run(1)
    await tab.page.waitForSelector(`${chatBox} textarea:visible`, { timeout: 60_000 })
    assert.deepEqual(await broken(tab, chatBox), [], 'chat')
    assert.deepEqual([tab.seen, tab.dialogs], [{ errors: [], remote: [] }, []])
  })
