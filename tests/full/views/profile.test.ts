import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { browserPath, openBrowser, watch } from '../../support/browser'
import { madeProfile } from '../../support/made-profile'
import { temporaryFolder } from '../../support/tiny'

const skip = browserPath() ? false : 'no Chromium or Chrome'

test('the page of a profile draws both charts by itself, and says what one points at', { skip }, async (t) => {
  const browser = await openBrowser()
  t.after(() => browser.close())
  const page = await browser.newPage({ viewport: { width: 1000, height: 900 } }), seen = watch(page)
  await page.goto(pathToFileURL(madeProfile().page(path.join(temporaryFolder(t), 'profile.html'))).href)
  await page.waitForFunction('document.querySelectorAll("[data-fettle-still]").length === 0')
  const flame = page.locator('[data-fettle-chart="flame"]')
  assert.equal(await flame.locator('.bars .point').count(), 30 * 2 * (1 + 2 + 9) + 3 + 5 + 4, 'a box for each frame')
  for (const layer of ['0', '17', '29']) assert.equal(await flame.locator('.textpoint text', { hasText: new RegExp(`^${layer}$`) }).count(), 2)
  const head = await flame.locator('.bartext', { hasText: /^head$/ }).boundingBox()
  await page.mouse.move(head!.x + 5, head!.y + 5)
  assert.match(await flame.locator('.hoverlayer').textContent() ?? '', /head, forward\s*30\.0 ms · 216 × 576 → 49152\s*4\.00 GFLOP · 133 GFLOP\/s · 67% of the limit/)
  assert.equal(await page.locator('[data-fettle-chart="memory"] .scatterlayer .trace').count(), 3)
  assert.deepEqual([seen.errors, seen.remote], [[], []])
})
