import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { test } from 'node:test'
import type { RunEvent } from 'fettle'
import { boardBundle, boardData, boardText, stillHtml } from 'fettle/dist/views'
import { pictureOf, roundTicks } from 'fettle/dist/views/picture'
import { plotsOf } from 'fettle/dist/views/plots'
import { fixture } from '../../support/paths'
import { hostileStory, story, storyStart } from '../../support/story'

/** Compares with a golden text; `FETTLE_UPDATE=1` writes it anew. */
function golden(name: string, text: string): void {
  const file = fixture('views', name)
  if (process.env.FETTLE_UPDATE === '1') fs.writeFileSync(file, text)
  assert.equal(text, fs.readFileSync(file, 'utf8'))
}

const finished = boardData(story(150), { run: 'r', dir: 'output/pronounce' })

test('a finished run as text, as markup without scripts, and as a picture', () => {
  golden('finished.txt', `${boardText(finished)}\n`)
  golden('finished.html', `${stillHtml(finished, { picture: false })}\n`)
  golden('finished.svg', `${pictureOf(plotsOf(finished.state))}\n`)
})

test('a failed run says why, in each form', () => {
  const failed: RunEvent = { type: 'failed', time: storyStart + 99_000, error: { name: 'WorkerError', code: 'worker.killed', message: 'out of memory <here>; try .batch({ size: 4 })' } }
  const { 'text/html': html, 'text/plain': text } = boardBundle(boardData([...story(300, 20), failed]), { library: false, final: true })
  assert.match(text, /^Failed, step 20 of 300.*\nWorkerError: out of memory <here>; try \.batch\(\{ size: 4 \}\)$/m)
  assert.match(html, /<b>WorkerError<\/b> <span dir="auto">out of memory &lt;here&gt;/)
})

test('before the first step there is a board too', () => {
  const { 'text/html': html, 'text/plain': text } = boardBundle(boardData([], { progress: { stage: 'reading weights', done: 3, total: 10 } }), { library: false, final: false })
  assert.equal(text, 'Preparing: reading weights, 3 of 10')
  assert.doesNotMatch(html, /<img/)
})

test('an output brings the library when asked, and its picture at the end', () => {
  const first = boardBundle(finished, { library: true, final: false })['text/html']
  const live = boardBundle(boardData(story(300, 200)), { library: false, final: false })['text/html']
  const last = boardBundle(finished, { library: true, final: true })
  assert.ok(first.length > 400_000 && first.length < 800_000, `${first.length}`)
  assert.ok(live.length < 25_000, `${live.length}`)
  assert.doesNotMatch(live, /<img|<style/)
  assert.match(last['text/html'], /<img alt="Loss, Learning rate, [^"]*" src="data:image\/svg\+xml;base64,/)
  assert.ok(JSON.stringify(last).length < 900_000, `${JSON.stringify(last).length}`)
})

test('no text of a run leaves its place in the markup', () => {
  const html = boardBundle(boardData(hostileStory()), { library: false, final: true })['text/html']
  const inside = html.replace(/<style>[^<]*<\/style><script type="text\/javascript">[^<]*<\/script>$/, '')
  assert.doesNotMatch(inside, /<\/?(script|style|textarea|svg|br)|<img src=x/)
  assert.equal(html.match(/<script/g)?.length, 1)
  assert.doesNotMatch(pictureOf(plotsOf(boardData(story(10).map((event) => (event.type === 'step' ? { ...event, loss: NaN } : event))).state)), /NaN|Infinity/)
})

test('ticks are round', () => {
  assert.deepEqual(roundTicks(0, 10, 4), [0, 5, 10])
  assert.deepEqual(roundTicks(3, 3, 4), [3])
})
