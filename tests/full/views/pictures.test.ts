import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { after, before, test } from 'node:test'
import { sft, type DataFacts, type DataToken, type ShownRow } from 'fettle'
import type { ChatState } from 'fettle/dist/chat/state'
import { boardData } from 'fettle/dist/views/board-data'
import { dataView, planView, profileView } from 'fettle/dist/views/objects'
import type { BoardData } from 'fettle/dist/views/state'
import { chromium, type Browser, type Page } from 'playwright-core'
import { browserPath, openBrowser } from '../../support/browser'
import { madeProfile } from '../../support/made-profile'
import { showBoard, showChat, showObject, type PanelPage } from '../../support/pages'
import { fixture } from '../../support/paths'
import { compare, difference, isClose } from '../../support/pictures'
import { story, storyStart } from '../../support/story'

const skip = browserPath() ? false : 'no Chromium or Chrome'
const controls = ['pause', 'resume', 'stop', 'save', 'sample', 'evaluate', 'set'] as const
const options = { run: 'a', dir: 'output/pronounce', controls, method: 'LoRA rank 8', now: storyStart + 128_000 }

const states: Readonly<Record<string, BoardData>> = {
  training: boardData([...story(300, 160),
    { type: 'warning', time: storyStart + 120_000, code: 'loss.spike', message: 'the loss of step 120 is three times its mean; a lower learning rate may help' },
    { type: 'command', time: storyStart + 122_000, command: 'set', atStep: 155, learningRate: 5e-4 }], options),
  done: boardData(story(300), options),
  failed: boardData([...story(300, 20), { type: 'failed', time: storyStart + 99_000, error: { name: 'WorkerError', code: 'worker.killed', message: 'the worker was killed (signal 9), most likely out of memory; try .batch({ size: 4 })' } }], options),
  preparing: boardData([], { ...options, progress: { stage: 'reading weights', done: 120, total: 310 } }),
}

const answer = (side: 'base' | 'tuned', text: string, done = true) => ({ side, text, done, tokensPerSecond: done ? 42.4 : null })
const talk: ChatState = {
  version: 1, chat: 'c', title: 'output/pronounce', status: 'answering', error: null, sides: [{ side: 'base', label: 'builtin:smollm2-135m' }, { side: 'tuned', label: 'Tuned, step 300' }],
  turns: [
    { text: 'Pronounce: fettle', answers: [answer('base', 'Fettle is pronounced like “kettle”, with an f. It means condition, as in “in fine fettle”, and it is also a verb that means to mend.'), answer('tuned', 'F EH T AH L')] },
    { text: 'And: telephone', answers: [answer('base', 'A telephone is a device', false), answer('tuned', 'T EH L AH F OW N', false)] },
  ],
}

const token = (text: string, supervised = false, special = false): DataToken => ({ id: 1, text, supervised, special })
const row = (index: number, source: string[], target: string[]): ShownRow => ({ row: index, tokens: [...source.map((text) => token(text)), ...target.map((text) => token(text, true)), token('<|im_end|>', true, true)], supervised: target.length + 1 })
const lengths = (from: number) => ({ min: from, median: from + 6, p95: from + 14, max: from + 20, mean: from + 6.5, bins: [4, 18, 42, 55, 38, 21, 9, 3, 1].map((rows, i) => ({ from: from + i * 3, to: from + i * 3 + 3, rows })) })
const facts: DataFacts = {
  path: 'data/pronounce', split: 'train', sources: ['data/pronounce/train.json'], model: 'builtin:smollm2-135m', template: 'plain', srcLength: 64, maxLength: 128, count: 191, packs: null, tokens: 3820, supervised: 1719, truncated: 2,
  lengths: { source: lengths(4), target: lengths(3), total: lengths(8) }, padding: { batch: 8, packed: 3820, toLongest: 5157, toMaxLength: 24_448, saved: 0.259, savedOfMaxLength: 0.844 },
  notes: [{ code: 'data.truncated', message: '2 rows are longer than 128 tokens and are cut; try .data(path, { maxLength: 160 })' }],
}
const views = {
  data: dataView(facts, [row(0, ['f', ' a', ' c', ' ='], [' F', ' AE', ' K']), row(1, ['w', ' o', ' o', ' d', ' w', ' o', ' r', ' k', ' ='], [' W', ' UH', ' D', ' W', ' ER', ' K'])]),
  plan: planView(sft('builtin:smollm2-135m').data('data/pronounce', { maxLength: 128 }).lora({ rank: 8 }).steps(300).evaluate({ every: 50 }).sample({ every: 50 }).plan, { data: facts, steps: 300, epochs: 1 }),
}

/** What each picture shows: puts it on a page. */
const pictures: Readonly<Record<string, (page: Page, look: PanelPage) => Promise<void>>> = {
  ...Object.fromEntries(Object.entries(states).map(([name, data]) => [`board-${name}`, (page: Page, look: PanelPage) => showBoard(page, data, { ...look, replies: {} })])),
  chat: (page, look) => showChat(page, talk, look),
  data: (page, look) => showObject(page, views.data, look),
  plan: (page, look) => showObject(page, views.plan, look),
  profile: (page, look) => showObject(page, profileView(madeProfile()), look),
}

let browser: Browser
before(async () => { if (!skip) browser = await openBrowser() })
after(async () => { await browser?.close() })

/** A picture of what stands on the page once every chart has its lines and nothing moves. */
async function take(page: Page): Promise<Buffer> {
  await page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))')
  return page.locator('#panel').screenshot({ animations: 'disabled', caret: 'hide' })
}

async function pictureOf(name: string, look: PanelPage, from = browser, spoil?: string): Promise<Buffer> {
  const page = await from.newPage()
  await pictures[name](page, { ...look, keptFonts: true })
  if (spoil) await page.addStyleTag({ content: spoil })
  const made = await take(page)
  await page.close()
  return made
}

const looks = (['light', 'dark'] as const).flatMap((theme) => [400, 1000].map((width) => ({ theme, width })))
for (const look of looks)
  test(`panels look as they did: ${look.theme}, ${look.width} px`, { skip }, async (t) => {
    for (const name of Object.keys(pictures)) {
      const found = await compare(`${name}-${look.theme}-${look.width}`, await pictureOf(name, look))
      assert.ok(isClose(found), `${name}: ${JSON.stringify(found)}`)
      if (found.all > 0) t.diagnostic(`${name} ${JSON.stringify(found)}`)
    }
  })

test('letters that stand on whole pixels, as other machines draw them, pass', { skip }, async (t) => {
  const other = await chromium.launch({ executablePath: browserPath() ?? undefined, args: ['--no-sandbox', '--disable-gpu', '--disable-font-subpixel-positioning'] })
  t.after(() => other.close())
  for (const name of Object.keys(pictures)) {
    const found = await difference(fs.readFileSync(fixture('pictures', `${name}-light-1000.png`)), await pictureOf(name, { theme: 'light', width: 1000 }, other))
    t.diagnostic(`${name} ${JSON.stringify(found)}`)
    assert.ok(isClose(found), `${name} ${JSON.stringify(found)}`)
  }
})

/** What may break a layout, as a style sheet that does it. */
const spoilt: Readonly<Record<string, string>> = {
  'a small chart is not drawn': '[data-fettle="board/gradient-norm"]{visibility:hidden}',
  'a chart is missing': '[data-fettle="board/loss"]{display:none}',
  'a margin is doubled': '.fb-inner{padding:28px!important;gap:24px!important}',
  'the samples are gone': '.fb-sample-section{display:none!important}',
  'letters are a third larger': '.fettle-board{zoom:1.3}',
  'the lines are one colour': '[data-fettle="board/loss"] .trace path.js-line{stroke:#808080!important}',
}

test('a broken layout and a wrong theme are seen', { skip }, async (t) => {
  const kept = (name: string) => fs.readFileSync(fixture('pictures', `${name}.png`))
  for (const [what, css] of Object.entries(spoilt)) for (const width of [400, 1000]) {
    const found = await difference(kept(`board-training-light-${width}`), await pictureOf('board-training', { theme: 'light', width }, browser, css))
    assert.ok(!isClose(found), `${what}, ${width} px: ${JSON.stringify(found)}`)
    t.diagnostic(`${what} ${width} ${JSON.stringify(found)}`)
  }
  for (const name of Object.keys(pictures)) {
    const found = await difference(kept(`${name}-light-1000`), await pictureOf(name, { theme: 'dark', width: 1000 }))
    assert.ok(!isClose(found), `${name} in the wrong theme: ${JSON.stringify(found)}`)
  }
})
