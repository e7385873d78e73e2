// npm run bench -- --curves [--write] [--steps 200]: the loss of the same training in both forms of the blocks, step by step: LoRA on
// SmolLM2-135M and short rows. Fused bf16 may differ from fp32 as much as rounding does; where the CPU multiplies bf16 itself, plain bf16
// shows how much that is.
import { createRequire } from 'node:module'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { machine, multipliesBf16 } from './machine.mjs'
import { prepare } from './prepare/index.mjs'
import { slugOf } from './results.mjs'
import { runSide } from './sides.mjs'

const require = createRequire(import.meta.url)
const { pictureOf } = require('fettle/dist/views/picture')

/** Curves by name: type and form. */
const runs = { 'fp32, plain': ['fp32', 'fettle-plain'], 'fp32, fused': ['fp32', 'fettle'], 'bf16, fused': ['bf16', 'fettle'], 'bf16, plain': ['bf16', 'fettle-plain'] }
const roles = ['faint', 'main', 'second', 'third']
/** Hours on a CPU that emulates it. */
const isEmulated = (name, cpu) => name === 'bf16, plain' && !multipliesBf16(cpu)

/** Differences of a curve from that of plain fp32: largest and mean size, and the mean with its sign, which noise keeps near 0. */
export function differences(curve, reference) {
  const all = curve.map((loss, i) => loss - reference[i])
  return { largest: Math.max(...all.map(Math.abs)), mean: all.reduce((sum, d) => sum + Math.abs(d), 0) / all.length, drift: all.reduce((sum, d) => sum + d, 0) / all.length }
}

/** The curves above each other, and how far each is from plain fp32. */
export function curvePicture(curves) {
  const names = Object.keys(curves), steps = curves[names[0]].map((_, i) => i + 1), [reference] = Object.values(curves)
  const line = (name, y, width) => ({ name, role: roles[names.indexOf(name)], x: steps, y, width, dots: 0 })
  const plot = (id, title, lines) => ({ id, title, format: 'number', zero: false, from: 1, to: steps.length, value: null, lines })
  return pictureOf([
    plot('loss', 'Loss', names.map((name, i) => line(name, curves[name], i === 0 ? 4 : 1.2))),
    ...names.slice(1).map((name) => plot(name, `${name} − ${names[0]}`, [line(name, curves[name].map((loss, i) => loss - reference[i]), 1)])),
  ])
}

/** Markdown: each curve's end and its differences. */
export function curveTable({ curves, steps }) {
  const [[first, reference], ...others] = Object.entries(curves), last = (curve) => (curve.slice(-20).reduce((sum, loss) => sum + loss, 0) / Math.min(20, curve.length)).toFixed(4)
  const row = ([name, curve]) => { const d = differences(curve, reference); return `| ${name} | ${curve[0].toFixed(4)} | ${last(curve)} | ${d.largest.toExponential(1)} | ${d.mean.toExponential(1)} | ${d.drift.toExponential(1)} |` }
  return [`| ${steps} steps of LoRA r = 8 | first loss | mean of the last 20 | largest difference | mean difference | mean with its sign |`, '|---|---|---|---|---|---|', `| ${first} | ${reference[0].toFixed(4)} | ${last(reference)} | | | |`, ...others.map(row)].join('\n')
}

/** @param settings as `parse` gives them; `home`, `kept`: folders of what the bench makes, and of published results; `publish(text)` puts it into docs/performance.md */
export async function compareCurves({ write, runs: [{ curveSteps: steps, threads }] }, { home, kept, publish }) {
  const cpu = machine(), files = await prepare(join(home, 'bench'), 'smollm2', 'short'), curves = {}
  for (const [name, [dtype, side]] of Object.entries(runs)) {
    if (isEmulated(name, cpu)) { console.error(`Without ${name}: this CPU emulates it.`); continue }
    const c = { key: `smollm2/curves/${name}`, case: 'lora', rows: 'short', dtype, steps, seconds: 1e6, skip: 0, threads: threads ?? cpu.cores, patience: 600 }
    curves[name] = (await runSide(side, c, files, {})).steps.map(({ loss }) => loss)
  }
  const table = curveTable({ curves, steps }), picture = `${slugOf(cpu)}-curves.svg`
  writeFileSync(join(home, 'bench', 'curves.json'), JSON.stringify({ date: new Date().toISOString(), steps, curves }))
  console.log(table)
  if (!write) return
  writeFileSync(join(kept, picture), curvePicture(curves))
  publish(`Machine: ${cpu.cpu}, ${cpu.cores} cores, ${cpu.features.join(' ')}.\n\n${table}\n\n![Loss of the same training in each form](bench/${picture})`)
}
