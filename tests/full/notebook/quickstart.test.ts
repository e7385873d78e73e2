import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { pathToFileURL } from 'node:url'
import { after, before, describe, test } from 'node:test'
import type { Browser } from 'playwright-core'
import { readNotebook } from 'fettle-kernel'
import { jupyterPython } from 'fettle-kernel/dist/driver/server'
import { quickstart } from 'fettle-kernel/dist/quickstart'
import { boardMime } from 'fettle/dist/views'
import { browserPath, drawnPoints, openBrowser, watch } from '../../support/browser'
import { repoRoot } from '../../support/paths'

const folder = path.join(repoRoot, 'output', 'quickstart-test')

/** The quickstart as users run it, shortened: the real notebook, kernel, model and page. */
describe('the quickstart', () => {
  let summary: Awaited<ReturnType<typeof quickstart>>
  let browser: Browser | undefined
  before(async () => {
    fs.rmSync(folder, { recursive: true, force: true })
    summary = await quickstart(folder, { steps: 30, words: 480, heldOut: 8 })
    if (browserPath()) browser = await openBrowser()
  })
  after(async () => { await browser?.close() })

  test('learns, and says how well', () => {
    assert.equal(summary.steps, 30)
    assert.ok(summary.after.phonemeErrorRate < summary.before.phonemeErrorRate, JSON.stringify(summary))
    assert.ok(summary.tokensPerSecond > 0)
    assert.equal(summary.answers.length, 8)
  })

  test('leaves the adapter in the layout of PEFT', () => {
    const config = JSON.parse(fs.readFileSync(path.join(folder, 'adapter', 'adapter_config.json'), 'utf8'))
    assert.deepEqual([config.peft_type, config.r], ['LORA', 16])
    assert.ok(fs.statSync(path.join(folder, 'adapter', 'adapter_model.safetensors')).size > 1e6)
  })

  test('leaves a valid notebook of at most 2 MB, with its charts, and no error', () => {
    const file = path.join(folder, 'quickstart.ipynb')
    execFileSync(jupyterPython(), ['-c', 'import sys, nbformat; nbformat.validate(nbformat.read(sys.argv[1], as_version=4))', file], { stdio: 'pipe' })
    assert.ok(fs.statSync(file).size < 2e6)
    const text = fs.readFileSync(file, 'utf8')
    assert.equal(text.split('window.fettleLibrary = window.fettleLibrary').length, 2, 'the library stands in it once')
    const outputs = JSON.parse(text).cells.flatMap((cell: { outputs?: { output_type: string; data?: object }[] }) => cell.outputs ?? [])
    assert.ok(outputs.some((output: { data?: object }) => output.data && boardMime in output.data))
    assert.ok(!outputs.some((output: { output_type: string }) => output.output_type === 'error'))
    assert.ok(readNotebook(file).cells.length > 10)
  })

  for (const colorScheme of ['light', 'dark'] as const)
    test(`the page draws its charts in ${colorScheme} without a server`, { skip: browserPath() ? false : 'no Chromium or Chrome' }, async () => {
      const page = await (browser as Browser).newPage({ viewport: { width: 1200, height: 900 }, colorScheme })
      const seen = watch(page)
      await page.goto(pathToFileURL(path.join(folder, 'quickstart.html')).href)
      await page.waitForSelector('.fettle-board .fb-small .fb-plot .trace', { timeout: 60_000 })
      await page.waitForTimeout(500)
      const points = await drawnPoints(page)
      assert.deepEqual(points.Loss.slice(0, 2), [30, 30])
      assert.deepEqual(Object.keys(points).sort(), ['Gradient norm', 'Held-out accuracy', 'Learning rate', 'Loss', 'Memory, MiB', 'Tokens/s', 'Utilisation'])
      assert.ok(Object.values(points).every((traces) => traces.length > 0), JSON.stringify(points))
      assert.deepEqual(seen, { errors: [], remote: [] })
      await page.locator('.fettle-board').first().screenshot({ path: path.join(folder, `charts-${colorScheme}.png`) })
      await page.close()
    })

  test('a reader without scripts sees a picture of the charts', { skip: browserPath() ? false : 'no Chromium or Chrome' }, async () => {
    const page = await (browser as Browser).newPage({ javaScriptEnabled: false })
    await page.goto(pathToFileURL(path.join(folder, 'quickstart.html')).href)
    assert.ok(await page.locator('.fettle-board img').first().isVisible())
    await page.close()
  })
})
