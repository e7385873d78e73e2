// Makes docs/images/plan.png: what a notebook shows of a forecast. `node docs/plan-picture.mjs MODEL DATA DEVICE RANKS [FILE]`, with a browser on the machine.
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as os from 'node:os'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url)), require = createRequire(import.meta.url)
const { plan, sft } = require('../sdk/dist'), { finder } = require('../native/dist/library')
const [model, data, device = 'this', ranks = '1', file = path.join(here, 'images', 'plan.png')] = process.argv.slice(2)
const forecast = await plan(sft(model).data(data, { maxLength: 2048 }).batch(16).bf16(), { device, ranks: Number(ranks) })
console.log(String(forecast))
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-picture-')), page = path.join(folder, 'page.html')
fs.writeFileSync(page, `<!doctype html><meta charset="utf-8"><body data-jp-theme-light="true" style="margin:14px;background:#fff;font:13px system-ui">${forecast[Symbol.for('Jupyter.display')]()['text/html']}`)
execFileSync(finder.findBrowser(), ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--force-device-scale-factor=1.5', '--window-size=980,720', `--screenshot=${file}`, `file://${page}`], { stdio: 'ignore' })
fs.rmSync(folder, { recursive: true })
