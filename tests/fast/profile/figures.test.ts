import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { EnvironmentError, Profile } from 'fettle'
import { chromeTrace, type TraceEvent } from 'fettle/dist/profile/chrome'
import { bundleOf } from 'fettle-kernel/dist/session/values'
import { flameFigure, staircaseFigure } from 'fettle/dist/views/profile/figures'
import { flameOf, middleLayer } from 'fettle/dist/views/profile/flame'
import { flamePicture, layersPicture, partsPicture, staircasePicture } from 'fettle/dist/views/profile/picture'
import { staircaseOf } from 'fettle/dist/views/profile/staircase'
import { madeProfile } from '../../support/made-profile'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'
import { checkNesting } from './nesting'

/** Compares with a golden text; `FETTLE_UPDATE=1` writes it anew. */
function golden(name: string, text: string): void {
  const file = fixture('views', name)
  if (process.env.FETTLE_UPDATE === '1') fs.writeFileSync(file, text)
  assert.equal(text, fs.readFileSync(file, 'utf8'))
}

type Complete = Extract<TraceEvent, { ph: 'X' }>

test('charts and tables of a profile whose figures are known', () => {
  const profile = madeProfile({ layers: 3 }), [rank] = profile.ranks, flame = flameOf(rank, profile.limit), stairs = staircaseOf(rank)
  golden('profile.txt', `${profile.toString()}\n`)
  golden('profile-flame.svg', `${flamePicture(flame)}\n`)
  golden('profile-layers.svg', `${layersPicture(middleLayer(rank, profile.limit))}\n`)
  golden('profile-memory.svg', `${staircasePicture(stairs)}\n${partsPicture(rank.parts)}\n`)
  golden('profile-figures.json', `${JSON.stringify([flameFigure(flame), staircaseFigure(stairs)], null, 1)}\n`)
})

test('rates, shares and sums of the tables', () => {
  const { blocks, layers, totals, parts, peak, limit } = madeProfile()
  const up = blocks.find(({ name }) => name === 'up')!
  assert.ok(Math.abs(up.forward - 30 * 6) < 1e-9 && Math.abs(up.backward - 30 * 7.2) < 1e-9)
  assert.equal(up.calls, 60)
  assert.ok(Math.abs(up.flops - 30 * 3 * 0.8e9) < 1)
  assert.ok(Math.abs(up.rate - up.flops / up.ms * 1000) < 1 && Math.abs(up.ofLimit - up.rate / limit.best) < 1e-12)
  assert.ok(Math.abs(blocks.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-9)
  assert.equal(blocks.at(-1)!.name, 'between')
  assert.ok(Math.abs(blocks.at(-1)!.ms - 1) < 1e-6, 'what no block explains is the one ms at the end of the step')
  assert.deepEqual(layers.map(({ name }) => name), ['embedding', ...Array.from({ length: 30 }, (_, i) => String(i)), 'head'])
  assert.ok(Math.abs(totals.flops - (30 * 3 * 1.69e9 + 4e9)) < 1)
  assert.equal(parts.reduce((sum, { bytes }) => sum + bytes, 0), peak)
})

test('a trace of many ranks: a process each, frames that nest, counters, shifted to one clock', () => {
  const { traceEvents } = chromeTrace(madeProfile({ ranks: 2 }).data)
  checkNesting(traceEvents)
  const of = (pid: number): Complete[] => traceEvents.filter((event): event is Complete => event.ph === 'X' && event.pid === pid)
  assert.deepEqual([...new Set(traceEvents.map(({ pid }) => pid))], [0, 1])
  assert.deepEqual([of(0)[0], of(1)[0]].map(({ name, ts }) => [name, ts]), [['step 4', 0], ['step 4', 250]])
  assert.deepEqual([...new Set(of(1).map(({ cat }) => cat))].sort(), ['block', 'communication', 'half', 'layer', 'part', 'phase', 'step'])
  assert.equal(of(1).filter(({ name }) => name === 'allReduce').length, 30)
  assert.equal(of(0).filter(({ cat }) => cat === 'block').length, 30 * 9 * 2 + 3)
  const qkv = of(0).find(({ name }) => name === 'qkv')!
  assert.deepEqual(qkv.args, { pass: 'forward', layer: 0, shape: '552 × 576 → 960, LoRA 24', GFLOP: 0.24, 'GFLOP/s': 0.24e9 / 2e-3 / 1e9, 'page faults': 3 })
  assert.equal(traceEvents.filter(({ ph }) => ph === 'C').length, 2 * (4 + 60))
})

test('thirty layers stay boxes: rows, colours and the middle layer by name', () => {
  const { ranks: [rank], limit } = madeProfile(), flame = flameOf(rank, limit), picture = String(flamePicture(flame))
  assert.deepEqual(flame.rows, ['step', 'pass', 'layer', 'half', 'block'])
  assert.ok(new Set(flame.boxes.filter(({ row }) => row === 4).map(({ colour }) => colour)).size >= 8)
  for (const layer of [0, 17, 29]) assert.ok(picture.includes(`>${layer}</text>`), `layer ${layer} has its number`)
  assert.match(String(layersPicture(middleLayer(rank, limit))), /Layer 15, forward: 15\.1 ms.*Layer 15, backward: 18\.1 ms/s)
  for (const { start, ms } of flame.boxes) assert.ok(start >= -1e-9 && start + ms <= flame.length + 1e-6)
})

test('it displays itself, as page, file and text', (t) => {
  const profile = madeProfile({ layers: 2 }), folder = temporaryFolder(t)
  const bundle = bundleOf(profile) as Record<string, string>
  assert.match(bundle['text/html'], /data-fettle-chart="flame"/)
  assert.match(bundle['text/plain'], /^Profile of step 4: builtin:smollm2-135m, fused blocks\n/)
  const page = fs.readFileSync(profile.page(path.join(folder, 'a', 'page.html')), 'utf8')
  assert.match(page, /^<!doctype html>/)
  assert.doesNotMatch(page.replace(/xmlns="[^"]*"/g, '').replace(/'[A-Za-z0-9+/=]{1000,}'/g, "''"), /(src|href)="?http/)
  const trace = JSON.parse(fs.readFileSync(profile.chromeTrace(path.join(folder, 'trace.json')), 'utf8')) as { traceEvents: TraceEvent[] }
  checkNesting(trace.traceEvents)
  assert.deepEqual(Profile.read(profile.save(path.join(folder, 'profile.json'))).blocks, profile.blocks)
  assert.throws(() => Profile.read(path.join(folder, 'none.json')), (error) => error instanceof EnvironmentError && error.code === 'profile.file')
  fs.writeFileSync(path.join(folder, 'other.json'), '{}')
  assert.throws(() => Profile.read(path.join(folder, 'other.json')), (error) => error instanceof EnvironmentError && error.code === 'profile.file')
  assert.throws(() => profile.save(path.join(folder, 'other.json', 'x.json')), (error) => error instanceof EnvironmentError && error.code === 'profile.write')
})
