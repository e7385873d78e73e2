import assert from 'node:assert/strict'
import * as path from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { exportHtml } from 'fettle-kernel/dist/html'
import { watch } from '../../support/browser'
import { board, boardOf, Lab, labMissing, prepareRun, runCell } from '../../support/lab'
import { hostileTexts } from '../../support/story'

const [script, closing, scheme, long, bidi, marks] = hostileTexts
/** Three rows are sampled; among them they hold each text as a prompt and as a reference. */
const rows = [{ src: `${script} ${closing}`, tgt: long }, { src: long, tgt: `${scheme} ${bidi} ${marks}` }, { src: `${scheme} ${bidi} ${marks}`, tgt: `${script} ${closing}` }]

/** Nothing of the data became an element or ran. */
async function harmless(page: Page, panel: string): Promise<void> {
  assert.equal(await page.evaluate('globalThis.hacked'), undefined)
  assert.equal(await page.locator(`${panel} :is(script, img[onerror], svg[onload], a[href^=javascript], iframe)`).count(), 0)
}

test('hostile rows of a real run neither run nor break JupyterLab, nor its export', { skip: labMissing, timeout: 300_000 }, async (t) => {
  const lab = await Lab.open(t, { width: 1000 })
  prepareRun(lab.folder, { train: rows, dev: rows })
  const tab = await lab.notebook([runCell(lab.folder, { sample: '{ every: 50, maxNewTokens: 8 }' })])
  const { page } = tab
  await tab.run(0)
  await tab.until(`document.querySelectorAll('${board} td[data-column=reference] .fb-text').length >= 3`, 'samples of hostile rows')
  const shown = await page.locator(`${board} th[data-column=prompt] .fb-text`).allTextContents()
  assert.ok(shown.some((text) => text.includes('<script>globalThis.hacked = 1</script>')), 'they are read as they are')
  assert.equal(await tab.overflow(), 0)
  for (const more of await page.locator(`${board} .fb-more:visible`).all()) await more.click()
  assert.equal(await tab.overflow(), 0, 'opened')
  await harmless(page, board)
  await page.evaluate(`document.querySelector('${board}').append(Object.assign(document.createElement('div'), { id: 'wide', style: 'width:3000px;height:1px' }))`)
  assert.ok(await tab.overflow() > 1000, 'what is too wide is seen')
  await page.evaluate('document.getElementById("wide").remove()')
  await tab.press('stop', /stopped/)
  await tab.keeps('stopped')
  const { size, outputs } = await tab.save()
  assert.ok(size < 1.5e6, `${size} bytes`)
  assert.equal(boardOf(outputs[0])!.samples.prompts.length, 3)
  assert.deepEqual([tab.seen, tab.dialogs], [{ errors: [], remote: [] }, []])

  const html = path.join(lab.folder, 'walk.html')
  await exportHtml(tab.file, html)
  const read = await lab.context.newPage()
  const seen = watch(read)
  await read.goto(pathToFileURL(html).href)
  await read.waitForSelector('.fettle-board [data-fettle="board/loss"] .trace path', { timeout: 60_000 })
  await harmless(read, '.fettle-board')
  assert.equal(await read.evaluate('document.scrollingElement.scrollWidth - innerWidth <= 0'), true, 'the export scrolls sideways')
  assert.deepEqual(seen, { errors: [], remote: [] })
})
