// Takes the picture of a profile's charts: `node docs/profile-picture.mjs profile-3.json docs/images/profile.png`.
import { createRequire } from 'node:module'
import { rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url))), require = createRequire(import.meta.url)
const { findBrowser } = require(path.join(root, 'native', 'setup', 'find.cjs')), { Profile } = require(path.join(root, 'sdk'))
const [file, picture] = process.argv.slice(2)

const page = Profile.read(file).page(`${picture}.html`), browser = await chromium.launch({ executablePath: findBrowser(), headless: true, args: ['--no-sandbox', '--disable-gpu'] })
try {
  const tab = await browser.newPage({ viewport: { width: 1000, height: 900 }, colorScheme: 'light' })
  await tab.goto(pathToFileURL(page).href)
  await tab.waitForFunction('document.querySelectorAll("[data-fettle-still]").length === 0')
  const { height } = await tab.locator('.fettle-profile').boundingBox(), top = (await tab.locator('.fettle-object').boundingBox()).y
  await tab.screenshot({ path: picture, clip: { x: 0, y: Math.max(0, top - 8), width: 1000, height: height + 70 }, fullPage: true })
} finally {
  await browser.close()
  rmSync(page)
}
