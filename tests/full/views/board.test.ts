import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { after, before, test } from 'node:test'
import type { RunEvent } from 'fettle'
import { boardData } from 'fettle/dist/views/board-data'
import type { BoardData } from 'fettle/dist/views/state'
import type { Browser, Page } from 'playwright-core'
import { browserPath, openBrowser, watch } from '../../support/browser'
import { showBoard, showChat, updateBoard, type PanelPage } from '../../support/pages'
import { repoRoot } from '../../support/paths'
import { hostileChat, hostileStory, story, storyStart } from '../../support/story'

const skip = browserPath() ? false : 'no Chromium or Chrome'
const controls = ['pause', 'resume', 'stop', 'save', 'sample', 'evaluate', 'set'] as const
const t = (seconds: number) => storyStart + seconds * 1000

/** A run half way with one of everything. */
const live: RunEvent[] = [
  ...story(300, 160),
  { type: 'warning', time: t(120), code: 'loss.spike', message: 'the loss of step 120 is three times its mean; a lower learning rate may help' },
  { type: 'saved', time: t(121), atStep: 150, path: 'output/pronounce/checkpoint-150', final: false },
  { type: 'command', time: t(122), command: 'set', atStep: 155, learningRate: 5e-4 },
]
const failed: RunEvent[] = [...story(300, 20), { type: 'failed', time: t(99), error: { name: 'WorkerError', code: 'worker.killed', message: 'the worker was killed (signal 9), most likely out of memory; try .batch({ size: 4 })' } }]
const options = { run: 'a', dir: 'output/pronounce', controls, method: 'LoRA rank 8', now: t(128) }
const states: Readonly<Record<string, BoardData>> = {
  training: boardData(live, options),
  preparing: boardData([], { ...options, progress: { stage: 'reading weights', done: 120, total: 310 } }),
  done: boardData(story(300), options),
  failed: boardData(failed, options),
}

const [rank] = states.training.state.ranks
const ranks: BoardData = { ...states.training, state: { ...states.training.state, ranks: [0, 1, 2, 3].map((index) => ({ ...rank, rank: index, pid: 4242 + index, device: `cuda:${index}` })) } }

let browser: Browser
before(async () => { if (!skip) browser = await openBrowser() })
after(async () => { await browser?.close() })

async function newPage(): Promise<{ page: Page; seen: ReturnType<typeof watch> }> {
  const page = await browser.newPage()
  return { page, seen: watch(page) }
}

/** Rules that the page breaks, each with the elements that break it. */
async function broken(page: Page): Promise<string[]> {
  await page.addScriptTag({ content: fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8') })
  return page.evaluate(`axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }).then(({ violations }) =>
    violations.filter(({ id }) => id !== 'page-has-heading-one' && id !== 'heading-order').map(({ id, nodes }) => id + ': ' + nodes.map(({ target, any }) => target + ' ' + (any[0]?.message ?? '')).join(' | ')))`)
}

/** How much wider than its window the page is, in px. */
const overflow = (page: Page) => page.evaluate('Math.max(0, document.scrollingElement.scrollWidth - innerWidth)')

async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.FETTLE_PICTURES
  if (folder) await page.locator('#panel').screenshot({ path: path.join(folder, `${name}.png`) })
}

const looks: PanelPage[] = [{ theme: 'light', width: 1000 }, { theme: 'dark', width: 1000 }, { theme: 'light', width: 400 }, { theme: 'dark', width: 1280 }]
for (const look of looks) {
  test(`each state of the board is accessible and fits: ${look.theme}, ${look.width} px`, { skip }, async () => {
    const { page, seen } = await newPage()
    for (const [name, data] of Object.entries({ ...states, ranks })) {
      await showBoard(page, data, { ...look, replies: {} })
      assert.equal(await overflow(page), 0, name)
      assert.deepEqual(await broken(page), [], name)
      await picture(page, `board-${name}-${look.theme}-${look.width}`)
    }
    await showChat(page, hostileChat(), look)
    assert.equal(await overflow(page), 0, 'chat')
    assert.deepEqual(await broken(page), [], 'chat')
    await picture(page, `chat-${look.theme}-${look.width}`)
    assert.deepEqual(seen, { errors: [], remote: [] })
    await page.close()
  })
}

test('a board that grows keeps its elements in their places and its charts drawn', { skip }, async () => {
  const { page } = await newPage()
  const events = story(300)
  await showBoard(page, boardData(events.slice(0, 40), options), { replies: {} })
  const tops = () => page.evaluate(`[...document.querySelectorAll('.fb-plot, .fb-controls, .fb-figures')].map((element) => Math.round(element.getBoundingClientRect().top + scrollY)).join()`)
  const first = await tops()
  await page.evaluate('globalThis.kept = [...document.querySelectorAll(".fb-plot svg.main-svg")]')
  for (const count of [80, 150, 220]) {
    await updateBoard(page, boardData(events.slice(0, count), options))
    assert.equal(await tops(), first)
  }
  await updateBoard(page, boardData(events, options))
  assert.equal(await tops(), first)
  assert.equal(await page.textContent('.fb-reply'), 'saved in output/pronounce')
  assert.equal(await page.evaluate('kept.every((svg) => svg.isConnected)'), true)
  await page.close()
})

test('buttons ask, wait and tell; stop asks once more; a rate is checked before it is sent', { skip }, async () => {
  const { page } = await newPage()
  await showBoard(page, states.training, { replies: { save: 'saved in output/checkpoint-160', evaluate: 'error: no dev rows; try .data(folder with dev.json)', set: 'from the next step on' } })
  const reply = page.locator('.fb-reply')
  await page.click('text="Save now"')
  await reply.filter({ hasText: 'saved in output/checkpoint-160' }).waitFor()
  await page.click('text="Evaluate now"')
  await reply.filter({ hasText: 'no dev rows; try .data(folder with dev.json)' }).waitFor()
  await page.click('text="Stop"')
  assert.equal(await page.evaluate('asked.length'), 2)
  await page.keyboard.press('Escape')
  assert.equal(await page.evaluate('document.activeElement.textContent'), 'Stop')
  await page.keyboard.press('Enter')
  await page.click('text="Yes"')
  await page.fill('.fb-rate input', '-3')
  await page.keyboard.press('Enter')
  await reply.filter({ hasText: 'expected a number from 0 on' }).waitFor()
  await page.fill('.fb-rate input', '1e-4')
  await updateBoard(page, states.training)
  assert.equal(await page.inputValue('.fb-rate input'), '1e-4', 'what is being written stays')
  await page.click('text="Set"')
  await reply.filter({ hasText: 'from the next step on' }).waitFor()
  assert.deepEqual(await page.evaluate('asked'), [{ name: 'save' }, { name: 'evaluate' }, { name: 'stop' }, { name: 'set', learningRate: 1e-4 }])
  await page.evaluate('board.setHost(null)')
  assert.equal(await page.isVisible('.fb-controls'), false)
  await page.close()
})

test('the keyboard reaches everything, and the slider over the samples follows until it is moved', { skip }, async () => {
  const { page } = await newPage()
  await showBoard(page, states.training, { replies: {} })
  const reached: string[] = []
  for (let i = 0; i < 30; i++) {
    await page.keyboard.press('Tab')
    reached.push(await page.evaluate(`document.activeElement.dataset.command ?? document.activeElement.className.split(' ')[0]`))
  }
  for (const name of ['pause', 'stop', 'save', 'sample', 'evaluate', 'fb-input', 'set', 'fb-quiet', 'fb-slider']) assert.ok(reached.includes(name), `${name} in ${reached}`)
  const heading = () => page.textContent('th[scope=col][data-column=answer]')
  assert.equal(await heading(), 'Tuned, step 150')
  await page.focus('.fb-slider')
  await page.keyboard.press('ArrowLeft')
  assert.equal(await heading(), 'Tuned, step 100')
  assert.ok(await page.locator('td[data-column=answer] mark').count() > 0)
  await updateBoard(page, boardData(story(300, 220), options))
  assert.equal(await heading(), 'Tuned, step 100')
  await page.keyboard.press('End')
  await updateBoard(page, boardData(story(300, 260), options))
  assert.equal(await heading(), 'Tuned, step 250')
  await page.close()
})

test('a change of status is said once, the next after ten seconds', { skip }, async () => {
  const { page } = await newPage()
  await page.clock.install()
  await showBoard(page, states.training)
  const said = () => page.textContent('.fb-hidden[aria-live]')
  await page.clock.runFor(100)
  assert.match(await said() ?? '', /^Training, step 160 of 300, loss 0\.\d+, 1m 38s left\. warning: the loss of step 120/)
  await page.evaluate(`board.update(${JSON.stringify({ ...states.training.state, status: 'paused' })})`)
  await page.clock.runFor(5_000)
  assert.match(await said() ?? '', /^Training/)
  await page.clock.runFor(5_000)
  assert.match(await said() ?? '', /^Paused/)
  await page.close()
})

test('a run that ended without evaluations has no chart of them', { skip }, async () => {
  const { page } = await newPage()
  const accuracy = page.locator('.fb-chart', { has: page.locator('[data-fettle="board/accuracy"]') })
  await showBoard(page, boardData(story(300).filter(({ type }) => type !== 'eval'), options))
  assert.equal(await accuracy.isVisible(), false)
  await showBoard(page, boardData(story(300), options))
  assert.equal(await accuracy.isVisible(), true)
  await page.close()
})

test('charts follow a theme that changes', { skip }, async () => {
  const { page } = await newPage()
  await showBoard(page, states.training)
  const ink = () => page.evaluate(`document.querySelector('[data-fettle$="/loss"]').layout.font.color`)
  const light = await ink()
  await page.evaluate('document.body.dataset.jpThemeLight = "false"')
  await page.waitForFunction(`document.querySelector('[data-fettle$="/loss"]').layout.font.color !== ${JSON.stringify(light)}`)
  assert.equal(await page.getAttribute('.fettle-board', 'data-theme'), 'dark')
  await page.close()
})

for (const width of [380, 1000]) {
  test(`hostile strings neither run nor break the layout: ${width} px`, { skip }, async () => {
    const { page, seen } = await newPage()
    const data = boardData(hostileStory(), options)
    await showBoard(page, data, { width, replies: { save: '<img src=x onerror="globalThis.hacked = 1">' } })
    await page.click('text="Save now"').catch(() => undefined)
    for (const more of await page.locator('.fb-more:visible').all()) await more.click()
    assert.equal(await overflow(page), 0)
    await picture(page, `hostile-${width}`)
    assert.equal(await page.evaluate('[...document.querySelectorAll("#panel *")].filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest("svg, .fb-hidden")).length'), 0)
    await showChat(page, hostileChat(), { width })
    assert.equal(await overflow(page), 0)
    await picture(page, `hostile-chat-${width}`)
    assert.equal(await page.evaluate('globalThis.hacked'), undefined)
    assert.equal(await page.evaluate('document.querySelectorAll("#panel script, #panel img, #panel a[href^=javascript]").length'), 0)
    assert.deepEqual(seen, { errors: [], remote: [] })
    await page.close()
  })
}

test('chat: Enter asks, Shift+Enter does not, Stop ends an answer, and who reads further up stays there', { skip }, async () => {
  const { page } = await newPage()
  const ready = hostileChat()
  await showChat(page, ready)
  await page.fill('.fb-chat-form textarea', 'one')
  await page.keyboard.press('Shift+Enter')
  await page.keyboard.type('two')
  await page.keyboard.press('Enter')
  await page.evaluate(`chat.update(${JSON.stringify({ ...ready, status: 'answering' })})`)
  await page.click('text="Stop"')
  assert.deepEqual(await page.evaluate('asked'), ['one\ntwo', 'cancel'])
  await page.evaluate('document.querySelector(".fb-chat-log").scrollTop = 0')
  const grown = { ...ready, turns: [...ready.turns, { text: 'more', answers: ready.turns[0].answers }] }
  await page.evaluate(`chat.update(${JSON.stringify(grown)})`)
  assert.equal(await page.evaluate('document.querySelector(".fb-chat-log").scrollTop'), 0)
  await page.close()
})

test('chat: an answer begins at its edge, and the ring of what has the focus is not cut', { skip }, async () => {
  const { page } = await newPage()
  const ready = hostileChat()
  await showChat(page, { ...ready, turns: [{ text: 'f e t t l e =', answers: [{ side: 'base', text: ' 1 + 1', done: true, tokensPerSecond: 5 }, { side: 'tuned', text: ' F EH T', done: false, tokensPerSecond: null }] }] })
  assert.deepEqual(await page.locator('.fb-answer-text').allTextContents(), ['1 + 1', 'F EH T'])
  await page.focus('.fb-chat-form textarea')
  const [ring, room] = await page.evaluate(`(() => {
    const area = document.querySelector('.fb-chat-form textarea'), { outlineWidth, outlineOffset } = getComputedStyle(area)
    return [parseFloat(outlineWidth) + parseFloat(outlineOffset), area.getBoundingClientRect().left - document.querySelector('.fettle-board').getBoundingClientRect().left]
  })()`) as [number, number]
  assert.ok(ring <= room, `${ring} px of ring, ${room} px of room`)
  await page.close()
})

test('the bundle of the panel is small', () => {
  const { size } = fs.statSync(path.join(repoRoot, 'sdk', 'dist', 'page', 'panel.js'))
  assert.ok(size < 80_000, `${size}`)
})
