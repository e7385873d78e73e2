// From what the ranks measured to tables: each figure beside what the formula says.
import { createRequire } from 'node:module'
import { spread } from '../statistics.mjs'
import { meshOf } from './launch.mjs'
import { config, model } from './model.mjs'

const require = createRequire(import.meta.url)
const { messagesOf, sentBytes } = require('fettle/dist/parallel/estimate/traffic'), { footprint } = require('fettle/dist/parallel/estimate/footprint')
const { simulate } = require('fettle/dist/parallel/estimate/simulate'), { bubbleOf } = require('fettle/dist/parallel/pipeline/schedule')

const { whole } = require('fettle/dist/views/format')

const shape = model()
/** Share of the cores that others may take while figures are still worth keeping. */
export const busy = 0.1
export const besides = ({ load, others }) => Math.max(load.share, others)
const number = (x, digits = 0) => x.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
const percent = (x) => `${number(100 * x)}%`
const range = ({ min, median, max }, digits = 0) => `${number(median, digits)} (${number(min, digits)}–${number(max, digits)})`
const table = (head, rows) => [`| ${head.join(' | ')} |`, `|${head.map(() => '---|').join('')}`, ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n')
const median = (values) => spread(values).median

/** A case as the formulas take it. */
function workload({ mesh = {}, rows = 2, rowTokens = 128, micros = 1 }) {
  const { dp, sharding } = meshOf(mesh)
  return { model: shape, valueBytes: 4, rows: rows * micros * dp * sharding.degree, rowTokens, microRows: rows, adapterRank: null, recompute: false }
}

/** Bytes that all ranks of a case send in a step. */
function formulaBytes(c) {
  const mesh = meshOf(c.mesh), peers = mesh.dp * mesh.sharding.degree * mesh.tp
  return Array.from({ length: mesh.pp }, (_, stage) => messagesOf(workload(c), mesh, stage).reduce((sum, message) => sum + peers * sentBytes(message), 0)).reduce((a, b) => a + b, 0)
}

/** The shortest step: what other processes disturbed least. */
const least = (cases) => Math.min(...cases.flatMap(({ results }) => results.flatMap(({ seconds }) => seconds)))

/** Seconds of each step of a case: of the slowest rank, where each trains alone. */
const stepSeconds = ({ results }) => results[0].seconds.map((_, step) => Math.max(...results.map(({ seconds }) => seconds[step])))

function scaling(of) {
  const rate = (kind) => of(kind).flatMap((c) => stepSeconds(c).map((seconds) => c.results[0].tokens * (c.apart ? 2 : 1) / seconds))
  const one = spread(rate('one')), rows = [['1 rank', 'one'], ['2 ranks, `dp`', 'dp'], ['2 ranks, gradients sent at the end', 'after'], ['2 processes that train apart: no message', 'apart']]
  return table(['', 'tokens/s', 'of twice one rank'], rows.map(([name, kind]) => { const s = spread(rate(kind)); return [name, range(s), kind === 'one' ? '' : percent(s.median / one.median / 2)] }))
}

function hidden(of) {
  const seconds = (kind) => median(of(kind).flatMap(stepSeconds)), [apart, after, overlapped] = ['apart', 'after', 'dp'].map(seconds)
  const share = 1 - (overlapped - apart) / (after - apart)
  const text = `A step takes ${number(apart, 3)} s without messages, ${number(after, 3)} s with all gradients sent at its end, ${number(overlapped, 3)} s with each layer's sent as soon as its backward ends`
  return after <= apart ? `${text}: messages cost less here than the steps differ, and no share that is hidden can be told.` : `${text}: 1 − (${number(overlapped, 3)} − ${number(apart, 3)}) / (${number(after, 3)} − ${number(apart, 3)}) = ${percent(share)} of the communication is hidden.`
}

function bytes(of) {
  const shown = [of('dp')[0], ...of('memory').filter(({ ranks, stage }) => ranks > 1 && stage > 0), ...of('tp'), ...of('pipe').filter(({ mesh, micros }) => mesh.pp === 2 && micros === 4)]
  return table(['mesh', 'micro-batches', 'formula, MB', 'measured, MB', 'ratio'], shown.map((c) => {
    const formula = formulaBytes(c), measured = c.results[0].bytes
    return [c.name, c.micros ?? 1, number(formula / 1e6, 2), number(measured / 1e6, 2), number(measured / formula, 3)]
  }))
}

function bubbles(of) {
  return table(['stages', 'ranges a stage', 'micro-batches', 'formula', 'measured, mean of stages', 'least and most'], of('pipe').map(({ mesh, micros, results }) => {
    const shares = results.map(({ blocked }) => blocked)
    return [mesh.pp, mesh.virtual ?? 1, micros, percent(bubbleOf(mesh.pp, mesh.virtual ?? 1, micros)), percent(shares.reduce((a, b) => a + b, 0) / shares.length), `${percent(Math.min(...shares))}, ${percent(Math.max(...shares))}`]
  }))
}

function memories(of) {
  const mb = (bytes) => number(bytes / 2 ** 20)
  return table(['ranks', 'stage', 'parameters', 'gradients', 'moments', 'on their way', 'sum', 'measured'], of('memory').map((c) => {
    const { parameters, gradients, moments, transit } = footprint(workload(c), meshOf(c.mesh), 0)
    return [c.ranks, c.stage, ...[parameters, gradients, moments, transit, parameters + gradients + moments + transit, Math.max(...c.results.map(({ peak }) => peak))].map(mb)]
  }))
}

/** The machine as the simulation sees it: FLOP/s such that two processes which train apart take as long as they did. */
function clusterOf(of, { alpha, beta, bandwidth }) {
  const [c] = of('apart'), plain = { flops: 1, bandwidth, memory: Infinity, overlap: 0, perNode: 8, inside: { alpha, beta }, between: { alpha, beta } }
  const { compute, moving } = simulate(workload(c), meshOf({}), plain), seconds = least(of('apart'))
  return { ...plain, flops: compute / Math.max(seconds - moving, seconds / 2) }
}

function predictions(of, cluster) {
  const shown = [...['one', 'after', 'dp'].map((kind) => ({ ...of(kind)[0], all: of(kind) })), ...[...of('tp'), ...of('pipe').filter(({ mesh }) => mesh.pp === 2), ...of('memory').filter(({ ranks }) => ranks === 2)].map((c) => ({ ...c, all: [c] }))]
  return table(['mesh', 'micro-batches', 'predicted, s', 'measured, s', 'ratio'], shown.map((c) => {
    const predicted = simulate(workload(c), meshOf(c.mesh), cluster).seconds, measured = least(c.all)
    return [`${c.name}${c.kind === 'after' ? ', sent at the end' : ''}`, c.micros ?? 1, number(predicted, 2), number(measured, 2), number(measured / predicted, 2)]
  }))
}

/** @param times `false`: others kept the cores busy, and only what does not depend on it is told */
export function report({ date, machine, kernels, load, others, seconds, link, namespace, results }, times) {
  const of = (kind) => results.filter((c) => c.kind === kind), cluster = clusterOf(of, link)
  const values = messagesOf(workload(of('dp')[0]), meshOf({ dp: 2 }), 0).reduce((sum, { bytes: each, count }) => sum + each * count / 4, 0)
  const beside = besides({ load, others }), section = (title, ...paragraphs) => ['', `### ${title}`, ...paragraphs.flatMap((text) => ['', text])]
  return [
    `\`npm run bench -- --parallel --write\`, ${date.slice(0, 10)}, ${number(seconds)} s. ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.features.join(' ')}; kernels ${kernels}; one thread a rank, fp32.`,
    `LLaMA-shaped, random: ${config.num_hidden_layers} layers of width ${config.hidden_size}, MLP ${config.intermediate_size}, vocabulary ${whole(config.vocab_size)}, ${number(values / 1e6, 1)} million values, all trained.`,
    ...(beside > busy ? ['', `**Other processes took ${percent(beside)} of the cores (load average ${number(load.loadAverage, 1)} before it began)${times ? ': bytes and memory hold, times show the shape at most' : ', so that times are left out'}.**`] : []),
    ...(times ? section('Data-parallel ranks', `A batch of 2 rows of 128 tokens a rank; all steps of ${of('dp').length} runs in turn, median (least–most).`, scaling(of), hidden(of)) : []),
    ...section('Bytes sent in a step', `By all ranks together, as loopback${namespace ? ' of a network namespace that nothing else uses' : ' (of the whole machine: no network namespace was permitted)'} counts them: with 66 bytes of Ethernet, IP and TCP head for each segment of up to 64 kB, and as much for each acknowledgement. The formula is the table below, summed over the ranks.`, bytes(of)),
    ...(times ? section('Waiting in the pipeline', 'Micro-batches of one row of 128 tokens. The formula is (P − 1) / (V · M + P − 1). Measured is the share of a step in which a stage stood in a receive or in the sums at its end. Four stages share two cores, so that a stage that waits leaves its core to another: of them only the order means something.', bubbles(of)) : []),
    ...section('Memory of a rank', 'MiB; two micro-batches of one row of 32 tokens. Measured is what a process grew by at its peak, the largest of the ranks. It is more than the sum by the pages of the library that a step touches, activations and the head\'s block of logits (the same for all), and with sharding by buffers that the allocator keeps when they are freed.', memories(of)),
    ...(times ? section('The model against this machine', `Measured between two ranks: α ${number(link.alpha * 1e6)} µs, 1/β ${number(1 / link.beta / 1e9, 2)} GB/s (Gloo, the sum included), memory ${number(link.bandwidth / 1e9, 1)} GB/s while both copy; ${number(cluster.flops / 1e9, 1)} GFLOP/s a core, from the two processes that train apart. Both sides are a case's shortest step. Nothing runs beside products (overlap 0): Gloo's threads take the same cores. Rows of the sharding meshes have 32 tokens, the others 128.`, predictions(of, cluster)) : []),
  ].join('\n')
}
