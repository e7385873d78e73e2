import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { test } from 'node:test'
import type { RunEvent } from 'fettle'
import { board, chartsHtml, collect, downsample, drawHtml, html, maxPoints, plotlyJson, progressOf, progressText, smooth, svgOf, tableView } from 'fettle/dist/views'
import { duration, digits, short } from 'fettle/dist/views/format'
import { ticks } from 'fettle/dist/views/svg'
import { fixture } from '../../support/paths'

const t0 = 1_700_000_000_000

/** A run as its events tell it: `steps` of `total`, evaluated and sampled each 50. */
function story(total: number, steps = total): RunEvent[] {
  const at = (step: number) => t0 + 1000 + step * 700
  const events: RunEvent[] = [
    { type: 'prepared', time: t0, split: 'train', rows: 4000, tokens: 120_000, supervised: 40_000, truncated: 0, preview: { text: '', ids: [], labels: [], tokens: [] } },
    { type: 'started', time: t0 + 1000, pid: 1, model: 'builtin:smollm2-135m', parameters: 139_399_488, trainable: 4_884_480, totalSteps: total, epochs: 1, startStep: 0, device: 'cpu', blocks: 'fused', threads: 2 },
  ]
  const look = (step: number) => {
    events.push({ type: 'eval', time: at(step), atStep: step, loss: 0.5 + 3 / (1 + step / 20), perplexity: 1, accuracy: step / (step + 60), rows: 64, ms: 900 })
    events.push({ type: 'sample', time: at(step), atStep: step, samples: [
      { prompt: 'cabbage =', answer: step < 100 ? ' 2018.12' : ' K AE B AH JH', reference: ' K AE B AH JH' },
      { prompt: '<b>quirk</b> =', answer: ' K W ER K', reference: null }] })
  }
  look(0)
  for (let step = 1; step <= steps; step++) {
    events.push({ type: 'step', time: at(step), step, totalSteps: total, epoch: step / total, loss: 0.4 + 3 / (1 + step / 20) + 0.1 * Math.sin(step), learningRate: 1e-3 * (1 - step / total), gradNorm: 1 + 1 / step, tokens: 500, supervised: 160, ms: 650, tokensPerSecond: 769.2, memory: 1400, faults: 0, utilisation: 0.9 })
    if (step % 50 === 0) look(step)
  }
  if (steps === total) events.push({ type: 'done', time: at(total) + 500, atStep: total, stopped: false, output: 'output/pronounce', ms: 105_000 })
  return events
}

/** Compares with a golden text; `FETTLE_UPDATE=1` writes it anew. */
function golden(name: string, text: string): void {
  const file = fixture('views', name)
  if (process.env.FETTLE_UPDATE === '1') fs.writeFileSync(file, text)
  assert.equal(text, fs.readFileSync(file, 'utf8'))
}

test('the board of a finished run, as text, HTML and figures', () => {
  const view = board(story(150))
  golden('finished.txt', `${view.text}\n`)
  golden('finished-head.html', `${view.head}\n`)
  golden('finished-samples.html', `${view.samples}\n`)
  golden('finished-charts.json', `${JSON.stringify(view.figures.map(({ id, title, data }) => ({ id, title, lines: data.map((t) => [t.name, t.x.length, t.y[0], t.y.at(-1)]) })), null, 1)}\n`)
  golden('finished.svg', `${svgOf(view.figures)}\n`)
})

test('a run on its way knows its pace and what is left', () => {
  const p = progressOf(collect(story(300, 100)))
  assert.deepEqual([p.state, p.step, p.totalSteps, p.left], ['training', 100, 300, 140_000])
  assert.match(progressText(collect(story(300, 100))), /^Training 33\.3%: step 100 of 300, .* left 2m 20s$/)
})

test('before the first step there is a board too', () => {
  const view = board([])
  assert.equal(view.text, 'Preparing: no step yet')
  assert.deepEqual(view.figures, [])
  assert.deepEqual(plotlyJson([]), { data: [], layout: {}, config: { displayModeBar: false, responsive: true } })
})

test('a failed and a stopped run say so', () => {
  const failed: RunEvent = { type: 'failed', time: t0 + 99_000, error: { name: 'WorkerError', code: 'worker.killed', message: 'out of memory <here>; try .batch(4)' } }
  const view = board([...story(300, 20), failed])
  assert.match(view.text, /^Failed 6\.7%.*\nout of memory <here>; try \.batch\(4\)$/m)
  assert.match(view.head.toString(), /fettle-error">out of memory &lt;here&gt;/)
  assert.match(board([...story(300, 20), { type: 'done', time: t0 + 20_000, atStep: 20, stopped: true, output: 'o', ms: 1 }]).text, /^Stopped/)
})

test('a resumed run counts each step once, the later time', () => {
  const [first] = story(10).filter((event) => event.type === 'step')
  assert.ok(first.type === 'step')
  const view = collect([...story(10), { ...first, loss: 99 }])
  assert.deepEqual([view.steps.length, view.steps[0].loss], [10, 99])
})

test('no chart has more than 1,000 points, and extremes stay', () => {
  const x = Array.from({ length: 100_000 }, (_, i) => i)
  const y = x.map((i) => (i === 54_321 ? 1e6 : i === 12_345 ? -1e6 : Math.sin(i)))
  const kept = downsample({ x, y })
  assert.ok(kept.x.length <= maxPoints && kept.x.length > maxPoints / 2)
  assert.deepEqual([kept.x[0], kept.x.at(-1), Math.max(...kept.y), Math.min(...kept.y)], [0, 99_999, 1e6, -1e6])
  for (const figure of board(story(5_000)).figures) for (const trace of figure.data) assert.ok(trace.x.length <= maxPoints)
})

test('what is not finite is a gap, not a broken chart', () => {
  const events = story(10).map((event) => (event.type === 'step' && event.step === 5 ? { ...event, loss: NaN, gradNorm: Infinity } : event))
  const [loss] = board(events).figures
  assert.equal(loss.data[0].y[4], null)
  assert.ok(loss.data[1].y.every((value) => value !== null))
  assert.doesNotMatch(svgOf(board(events).figures), /NaN|Infinity/)
  assert.deepEqual(smooth({ x: [1, 2], y: [NaN, 1] }).y, [NaN, 1])
})

test('markup is escaped, scripts cannot be left', () => {
  assert.equal(html`<i>${'<&"\''}</i>${[html`<b>`, 1]}${null}`.toString(), '<i>&lt;&amp;&quot;&#39;</i><b>1')
  const figures = board(story(3)).figures.map((figure) => ({ ...figure, title: '</script>' }))
  assert.doesNotMatch(drawHtml('x', figures.map((f) => ({ ...f, data: f.data.map((t) => ({ ...t, name: '</script>' })) }))).toString().slice(0, -9), /<\/script>/)
})

test('charts carry the library only when asked, and a picture for those who run no scripts', () => {
  const { figures } = board(story(60))
  const full = chartsHtml('run', figures, { library: true, still: true })
  assert.ok(full.length > 400_000 && full.length < 800_000, `${full.length}`)
  const small = chartsHtml('run', figures, { library: false, still: false })
  assert.ok(small.length < 60_000, `${small.length}`)
  assert.doesNotMatch(small, /fettleLibrary = /)
  for (const { id } of figures) assert.ok(small.includes(`data-fettle="run/${id}"`))
})

test('all charts as one Plotly figure', () => {
  const { data, layout } = plotlyJson(board(story(60)).figures) as { data: { xaxis?: string; yaxis?: string }[]; layout: Record<string, { domain?: number[] }> }
  assert.deepEqual([...new Set(data.map((trace) => trace.xaxis ?? 'x'))], ['x', 'x2', 'x3', 'x4', 'x5', 'x6'])
  assert.deepEqual(layout.yaxis.domain, [0.5, 1])
  assert.ok(Object.keys(layout).filter((key) => /^[xy]axis/.test(key)).length === 12)
})

test('tables, as text and HTML', () => {
  assert.equal(tableView(['a', 'b'], [[1, 'x<y'], [null, { c: 1n }]])['text/plain'], 'a  b\n-  ---------\n1  x<y\n   {"c":"1"}')
  assert.match(tableView(['a'], [['x<y']])['text/html'], /<td>x&lt;y<\/td>/)
})

test('numbers as people read them', () => {
  assert.deepEqual([short(139_399_488), short(1500), short(12)], ['139M', '1.50k', '12.0'])
  assert.deepEqual([digits(0.123456, 3), digits(1234.5, 4), digits(0, 3), digits(1e-7, 3)], ['0.123', '1235', '0', '1.00e-7'])
  assert.deepEqual([duration(4_000), duration(83_000), duration(7_260_000), duration(200_000_000)], ['4s', '1m 23s', '2h 01m', '2d 7h'])
  assert.deepEqual(ticks(0, 10, 4), [0, 5, 10])
})
