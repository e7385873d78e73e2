import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { benchModule, cpuOf, generationRun, trainingRun } from '../../support/bench'
import { temporaryFolder } from '../../support/tiny'

const about = { machine: cpuOf('avx2'), threads: 2, kernels: 'avx2/own', node: 'v20', tcmalloc: true, versions: { peft: ['torch==2.15.0', 'peft==0.21.2'], trl: ['torch==2.15.0', 'trl==1.16.0'] } }

async function result() {
  const { casesOf, parse } = await benchModule('cases.mjs'), { summarize } = await benchModule('statistics.mjs')
  const [lora, generate] = parse(['--case', 'lora,generate', '--batches', '1', '--dtype', 'fp32', '--peer', 'peft,trl']).runs.flatMap((run: unknown) => casesOf(run, about.machine))
  const run = { ...trainingRun('fettle-run', [1, 1, 1]), startToFirstStep: 3.14, frontMiB: 70 }
  const training = summarize([[trainingRun('fettle', [1, 1, 1, 1]), run, trainingRun('peft:best', [2, 2, 2, 3]), trainingRun('trl:default', [4, 4, 4, 4], { loss: 6 })]], 'fp32')
  const generation = summarize([[generationRun('fettle', [1, 1], [[1, 2]]), generationRun('peft:best', [2, 2], [[1, 2]])]], 'fp32')
  const told = { date: '2026-01-01T00:00:00Z', load: 0 }
  return { ...about, cases: { [lora.key]: { ...lora, ...told, failed: { 'trl:best': 'ended with exit code 1' }, ...training }, [generate.key]: { ...generate, ...told, load: 0.5, failed: {}, ...generation } } }
}

test('a case as Markdown: sides, ratios, agreement, what failed and what had no part', async () => {
  const { markdown } = await benchModule('table.mjs'), text: string = markdown(await result())
  assert.match(text, /Machine: Some CPU, 2 cores, 24 GiB, avx2; threads 2; kernels avx2\/own\. Peers: torch 2\.15\.0, peft 0\.21\.2, trl 1\.16\.0; their best forms on tcmalloc\./)
  assert.match(text, /### LoRA r = 8, SmolLM2-135M, fp32, 8 heavy-tailed rows/)
  assert.match(text, /\| Fettle \| fp32 \| 4 \| 100\.0 \| 40\.0 \| 1,000 \| 7 \| 2\.0 \|/)
  assert.match(text, /Fettle over transformers \+ PEFT, best: \*\*3\.00×\*\* the tokens\/s.*first losses 0\.0000% apart/)
  assert.match(text, /Fettle over TRL, default: .*first losses 16\.6667% apart — \*\*they disagree\*\* \(limit 0\.1%\)/)
  assert.match(text, /TRL, best \*\*failed\*\*: ended with exit code 1/)
  assert.match(text, /From `\.start\(\)` to the first step's event: 3\.1 s/)
  assert.match(text, /TRL, best: TRL has no generation of its own/)
  assert.match(text, /100% of the first tokens the same/)
  assert.match(text, /Other work took 50% of the cores/)
})

test('a case that is run again replaces its result, others stay; numbers keep five digits', async (t) => {
  const { addResult, readResults, rounded, slugOf } = await benchModule('results.mjs'), folder = temporaryFolder(t), file = path.join(folder, 'm.json')
  addResult(file, { threads: 2, versions: { peft: ['peft==1'] } }, { a: { rate: 1.23456789 }, b: { rate: 1 } })
  addResult(file, { threads: 4, versions: { trl: ['trl==2'] } }, { b: { rate: 2 } })
  assert.deepEqual(readResults(folder), new Map([['m', { threads: 4, versions: { peft: ['peft==1'], trl: ['trl==2'] }, cases: { a: { rate: 1.2346 }, b: { rate: 2 } } }]]))
  assert.deepEqual(rounded({ x: [NaN, 1e-9, 'text', null, true] }), { x: [null, 1e-9, 'text', null, true] })
  assert.equal(slugOf({ ...cpuOf('avx2', 'amx_bf16'), cpu: 'Intel(R) Xeon(R)' }), 'intel-r-xeon-r-2-cores-amx-bf16')
})

test('the page and its pictures: small, nothing fetched, drawn from the same numbers', async (t) => {
  const { figuresOf, picture, plotlyFigure, seriesOf, writePage } = await benchModule('page.mjs'), one = await result(), folder = temporaryFolder(t)
  writePage(folder, new Map([['machine', one]]))
  const html = fs.readFileSync(path.join(folder, 'index.html'), 'utf8')
  assert.ok(html.length < 50_000)
  assert.deepEqual([...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link), ['../performance.md', ...Object.keys(figuresOf).map((figure) => `machine-${figure}.svg`), '../../node_modules/plotly.js-basic-dist-min/plotly-basic.min.js'])
  for (const figure of Object.keys(figuresOf)) assert.ok(fs.existsSync(path.join(folder, `machine-${figure}.svg`)))
  assert.deepEqual(seriesOf(one, 'tokensPerSecond').map(({ name, points }: any) => [name, points.map((p: any) => p.median)]), [['transformers + PEFT, best', [3, 2]], ['TRL, default', [4]]])
  const { traces } = plotlyFigure(one, 'tokensPerSecond')
  assert.deepEqual(traces.map(({ x, y }: any) => [x, y.length]), [[[3, 2], 2], [[4], 1]])
  const svg: string = picture(one, 'tokensPerSecond')
  assert.equal(svg.match(/<circle/g)?.length, 3 + 2)
  assert.ok(!/NaN|undefined/.test(svg))
})

test('rows: the same lengths on every machine, by the law of the case', async () => {
  const { laws, largestFirst, lengths, uniform } = await benchModule('prepare/rows.mjs')
  const heavy: number[] = lengths('heavy', uniform(20)), mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length
  assert.deepEqual(heavy, lengths('heavy', uniform(20)))
  assert.ok(Math.abs(mean(heavy) - 80) < 8, `mean ${mean(heavy)}`)
  assert.deepEqual([Math.max(...heavy), Math.min(...heavy) >= 8, heavy.length], [1000, true, laws.heavy.count])
  assert.ok(Math.abs(mean(lengths('short', uniform(20))) - 18) < 1)
  assert.deepEqual([...new Set(lengths('4096', uniform(20)))], [4096])
  const rows = [1, 2, 9, 1, 3, 3].map((n) => ({ ids: Array(n).fill(0) }))
  assert.deepEqual(largestFirst(rows, 2).map(({ ids }: any) => ids.length), [9, 1, 1, 2, 3, 3])
})

test('curves of both forms: what differs from plain fp32, as Markdown and as a picture', async () => {
  const { curvePicture, curveTable, differences } = await benchModule('curves.mjs'), plain = [6, 5, 4, 3]
  assert.deepEqual(differences([6.5, 5, 3.5, 3], plain), { largest: 0.5, mean: 0.25, drift: 0 })
  const curves = { 'fp32, plain': plain, 'fp32, fused': plain, 'bf16, fused': [6.5, 5, 3.5, 3.25] }, table: string = curveTable({ curves, steps: 4 }), picture: string = curvePicture(curves)
  assert.match(table, /\| bf16, fused \| 6\.5000 \| 4\.5625 \| 5\.0e-1 \| 3\.1e-1 \| 6\.3e-2 \|/)
  assert.match(table, /\| fp32, fused \| 6\.0000 \| 4\.5000 \| 0\.0e\+0 /)
  assert.equal(picture.match(/<polyline/g)!.length, 5)
  assert.match(picture, /bf16, fused − fp32, plain/)
})
