import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { PNG } from 'pngjs'
import { board, chatBox, Lab, labMissing, prepareRun, type LabPage } from '../../support/lab'
import { repoRoot } from '../../support/paths'
import { updating } from '../../support/pictures'
import { smallPng } from '../../support/png'

/*
 * The pictures of the documentation, each taken in JupyterLab. UPDATE_PICTURES=1 trains SmolLM2 for some minutes and writes
 * them to docs/images; otherwise a tiny model goes the same way, and its pictures go with the test.
 */

interface Story { readonly cells: readonly string[]; readonly at: number; readonly questions: readonly string[] }

const real: Story = {
  cells: [
    `import { chat, dataset, examples, sft } from 'fettle'\nconst task = await examples.pronunciations('data/pronounce', { train: 4000, heldOut: 32 })`,
    `const plan = sft('builtin:smollm2-135m')
  .data('data/pronounce', { template: 'none' })
  .lora({ rank: 16 }).learningRate(1.5e-3)
  .steps(180).batch(16)
  .evaluate({ every: 20 }).sample({ every: 20, maxNewTokens: 16 })
  .output('output/pronounce')

const run = await plan.start()
await run.done`,
    'await chat(run, { maxNewTokens: 16 })', 'await dataset(plan)'],
  at: 122, questions: ['f e t t l e =', 'n o t e b o o k ='],
}

const tiny = (): Story => ({
  cells: [`import { chat, dataset, sft } from 'fettle'`,
    `const plan = sft('model').data('data', { maxLength: 96 }).lora({ rank: 4 }).steps(3000).batch(8).seed(7).threads(1)
  .evaluate({ every: 100 }).sample({ every: 100, maxNewTokens: 8 }).save({ each: 'never' }).output('out')

const run = await plan.start()
await run.done`, 'await chat(run, { maxNewTokens: 16 })', 'await dataset(plan)'],
  at: 300, questions: ['n 1: a', 'n 2: ab'],
})

/** Scrolls the cell to the top of the window, so that all of it is drawn; the frame of the chosen cell is elsewhere. */
async function show(tab: LabPage, cell: number): Promise<void> {
  await tab.page.evaluate('globalThis.jupyterapp.shell.currentWidget.content.activeCellIndex = 0')
  await tab.page.evaluate(`document.querySelectorAll('.jp-Notebook .jp-CodeCell')[${cell}].scrollIntoView({ block: 'start' })`)
  await tab.page.mouse.move(0, 0)
  await tab.page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))')
}

async function theme(tab: LabPage, name: 'light' | 'dark'): Promise<void> {
  await tab.page.evaluate(`globalThis.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab ${name === 'dark' ? 'Dark' : 'Light'}' })`)
  await tab.until(`document.querySelector('${board} .fettle-board')?.dataset.theme === '${name}' && document.body.dataset.jpThemeLight === '${name === 'light'}'`, `the ${name} theme`)
  const ink = () => tab.page.evaluate(`document.querySelector('${board} [data-fettle="board/loss"]')?.layout.font.color`)
  const wanted = name === 'dark' ? '#a9b2bc' : '#5b6570'
  await tab.until(`document.querySelector('${board} [data-fettle="board/loss"]').layout.font.color === '${wanted}'`, `charts in ${wanted}, now ${await ink()}`)
}

test('pictures for the documentation', { skip: labMissing, timeout: updating ? 1_500_000 : 300_000 }, async (t) => {
  const lab = await Lab.open(t, { width: 1180, height: 1120, scale: 1.5 })
  const target = updating ? path.join(repoRoot, 'docs', 'images') : lab.folder
  const made: string[] = []
  const keep = (name: string, picture: Buffer) => {
    fs.writeFileSync(path.join(target, `${name}.png`), smallPng(PNG.sync.read(picture)))
    made.push(name)
  }
  const story = updating ? real : tiny()
  if (!updating) prepareRun(lab.folder)
  const tab = await lab.notebook(story.cells, 'pronounce.ipynb')
  const { page } = tab
  const cell = (index: number) => page.locator('.jp-Notebook .jp-CodeCell').nth(index)
  await page.evaluate(`globalThis.jupyterapp.commands.execute('application:toggle-left-area')`)
  await tab.run(0)
  await tab.idle()
  await tab.run(1)
  await tab.statusIs('training', 300_000)
  await tab.until(`Number((document.querySelector('${board} .fb-figures dd')?.textContent ?? '').split('/')[0].replace(/\\D/g, '')) >= ${story.at}`, `step ${story.at}`, updating ? 900_000 : 60_000)
  await show(tab, 1)
  await tab.until(`document.querySelectorAll('${board} .fb-plot .trace').length >= 8`, 'every chart is drawn')
  keep('quickstart', await page.screenshot())
  keep('board-light', await cell(1).screenshot())
  await theme(tab, 'dark')
  await show(tab, 1)
  keep('board-dark', await cell(1).screenshot())
  await theme(tab, 'light')
  if (!updating) await tab.press('stop', /stopped/)
  await tab.idle(updating ? 900_000 : 60_000)

  await tab.run(2)
  for (const [i, question] of story.questions.entries()) {
    await page.waitForSelector(`${chatBox} textarea:visible`, { timeout: 60_000 })
    await page.fill(`${chatBox} textarea`, question)
    await page.keyboard.press('Enter')
    await tab.until(`(() => {
      const texts = [...document.querySelectorAll('${chatBox} .fb-answer-text')]
      return texts.length === ${2 * (i + 1)} && texts.every((text) => text.textContent !== '' && !text.hasAttribute('aria-busy')) && document.querySelector('${chatBox} button[type=submit]').getAttribute('aria-disabled') === 'false'
    })()`, 'both sides have answered', 120_000)
  }
  await show(tab, 2)
  keep('chat', await cell(2).screenshot())
  await tab.run(3)
  await tab.idle()
  await tab.until(`document.querySelectorAll('.jp-Notebook .jp-CodeCell')[3].querySelector('.fettle')`, 'the data set shows itself')
  await show(tab, 3)
  keep('data', await cell(3).screenshot())

  assert.deepEqual(made, ['quickstart', 'board-light', 'board-dark', 'chat', 'data'])
  for (const name of made) {
    const { width, height } = PNG.sync.read(fs.readFileSync(path.join(target, `${name}.png`)))
    assert.ok(width > 1000 && height > 250, `${name}: ${width} × ${height}`)
    assert.ok(fs.statSync(path.join(target, `${name}.png`)).size < 400_000, name)
  }
  assert.deepEqual(tab.seen, { errors: [], remote: [] })
})
