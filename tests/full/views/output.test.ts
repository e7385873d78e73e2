import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { after, before, test } from 'node:test'
import { boardBundle, boardData, type BoardBundle } from 'fettle/dist/views'
import type { Browser, Page } from 'playwright-core'
import { browserPath, openBrowser, watch } from '../../support/browser'
import { hostileStory, story } from '../../support/story'
import { temporaryFolder } from '../../support/tiny'

const skip = browserPath() ? false : 'no Chromium or Chrome'

let browser: Browser
before(async () => { if (!skip) browser = await openBrowser() })
after(async () => { await browser?.close() })

/** Puts an output on the page as notebooks do: its markup, then its scripts made anew so that they run. */
async function put(page: Page, bundle: BoardBundle, host = 'out'): Promise<void> {
  await page.evaluate(`(() => {
    const host = document.getElementById(${JSON.stringify(host)})
    host.innerHTML = ${JSON.stringify(bundle['text/html'])}
    for (const old of [...host.querySelectorAll('script')]) {
      const script = document.createElement('script')
      script.textContent = old.textContent
      old.replaceWith(script)
    }
  })()`)
}

const drawn = (page: Page) => page.waitForFunction('document.querySelectorAll(".fb-plot .trace").length >= 7')
const events = story(300)
const look = (count: number) => boardData(events.slice(0, count), { run: 'a' })

test('an output that is replaced twice a second keeps its charts, its focus and the place of its slider', { skip }, async () => {
  const page = await browser.newPage()
  const seen = watch(page)
  await page.setContent('<!doctype html><html lang="en"><body><div id="out"></div></body></html>')
  await put(page, boardBundle(look(120), { library: true, final: false }))
  await drawn(page)
  await page.evaluate('globalThis.kept = document.querySelector("[data-fettle$=loss] svg.main-svg")')
  await page.focus('.fb-slider')
  await page.keyboard.press('Home')
  for (const count of [160, 200, 260]) {
    await put(page, boardBundle(look(count), { library: false, final: false }))
    assert.equal(await page.evaluate('document.querySelectorAll(".fb-figures").length'), 1)
    assert.deepEqual(await page.evaluate('[kept.isConnected, document.activeElement.className, document.querySelector(".fb-slider").value]'), [true, 'fb-slider', '0'])
  }
  await put(page, boardBundle(boardData(events, { run: 'a' }), { library: true, final: true }))
  assert.equal(await page.textContent('.fb-status'), 'Done')
  assert.equal(await page.evaluate('kept.isConnected'), true)
  assert.deepEqual(seen, { errors: [], remote: [] })
  await page.close()
})

test('two outputs of one run, and outputs of two, each have their board', { skip }, async () => {
  const page = await browser.newPage()
  await page.setContent('<!doctype html><html lang="en"><body><div id="out"></div><div id="again"></div><div id="other"></div></body></html>')
  await put(page, boardBundle(look(60), { library: true, final: false }))
  await put(page, boardBundle(look(120), { library: false, final: false }), 'again')
  await put(page, boardBundle(boardData(story(20), { run: 'b' }), { library: false, final: true }), 'other')
  await page.waitForFunction('document.querySelectorAll(".fb-slider").length === 3')
  assert.deepEqual(await page.evaluate('[...document.querySelectorAll(".fb-figures")].map((list) => list.querySelector("dd").textContent)'), ['112 / 300', '112 / 300', '20 / 20'])
  assert.deepEqual(await page.locator('.fb-status').allTextContents(), ['Training', 'Training', 'Done'])
  await page.close()
})

test('a saved page shows the board by itself; without scripts its words, picture and samples', { skip }, async (t) => {
  const file = path.join(temporaryFolder(t), 'saved.html')
  const outputs = [boardBundle(boardData(events, { run: 'a' }), { library: true, final: true }), boardBundle(boardData(hostileStory(), { run: 'b' }), { library: false, final: true })]
  fs.writeFileSync(file, `<!doctype html><html lang="en"><head><meta charset="utf-8"></head><body>${outputs.map((bundle) => `<div>${bundle['text/html']}</div>`).join('')}</body></html>`)
  assert.ok(fs.statSync(file).size < 1.5e6)
  const page = await browser.newPage()
  const seen = watch(page)
  await page.goto(`file://${file}`)
  await page.waitForFunction('document.querySelectorAll(".fb-plot .trace").length >= 14')
  assert.equal(await page.evaluate('globalThis.hacked'), undefined)
  assert.deepEqual(seen, { errors: [], remote: [] })
  await page.close()
  const still = await browser.newPage({ javaScriptEnabled: false })
  await still.goto(`file://${file}`)
  assert.equal(await still.locator('.fb-still img').count(), 2)
  assert.deepEqual(await still.locator('.fb-status').allTextContents(), ['Done', 'Training'])
  assert.match(await still.locator('.fb-samples').first().innerText(), /K AE B AH JH/)
  await still.close()
})
