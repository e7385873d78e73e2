// Results as Markdown.
import { nameOf, titleOf } from './cases.mjs'
import { limits } from './statistics.mjs'

export const number = (x, digits = 0) => (x === null || Number.isNaN(x) ? '–' : x.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits }))
/** `median (min–max)` */
export function range({ min, median, max }, digits = 0) {
  const [low, middle, high] = [min, median, max].map((x) => number(x, digits))
  return low === high ? middle : `${middle} (${low}–${high})`
}

function columns(c) {
  const shared = [['peak memory, MiB', (s) => range(s.peakMiB)], ['page faults a step', (s) => range(s.faults)], ['process start to first step, s', (s) => range(s.firstStep, 1)]]
  const rates = [['tokens/s', (s) => range(s.tokensPerSecond, 1)], c.case === 'generate' ? ['first token after, s', (s) => range(s.firstToken, 3)] : ['supervised tokens/s', (s) => range(s.supervisedPerSecond, 1)]]
  return [['form', (s) => s.form], ['steps', (s) => number(s.steps)], ...rates, ...shared]
}

function ratioLine(c, peer) {
  const r = c.ratios[peer], { kind, distance, agrees } = c.agreement[peer]
  const second = c.case === 'generate' ? `${range(r.firstToken, 2)}× the time to the first token` : `${range(r.supervisedPerSecond, 2)}× the supervised tokens/s`
  const same = kind === 'loss' ? `first losses ${number(100 * distance, 4)}% apart` : `${number(100 * (1 - distance))}% of the first tokens the same`
  const wrong = agrees ? '' : kind === 'loss' ? ` — **they disagree** (limit ${100 * limits[c.dtype]}%): not a comparison` : ' — **they disagree**: not a comparison'
  return `- Fettle over ${nameOf(peer)}: **${range(r.tokensPerSecond, 2)}×** the tokens/s, ${second}, ${range(r.peakMiB, 2)}× the peak memory, ${range(r.firstStep, 2)}× the time to the first step; ${same}${wrong}`
}

/** A case: a table of its sides, a line of ratios for each peer, and what had no part in it. */
export function caseTable(c) {
  const shown = columns(c), sides = Object.entries(c.sides)
  const rows = sides.map(([side, s]) => `| ${[nameOf(side), ...shown.map(([, text]) => text(s))].join(' | ')} |`)
  const run = c.sides['fettle-run'], busy = c.load > 0.1
  return [
    `### ${titleOf(c)}`, '', `| | ${shown.map(([title]) => title).join(' | ')} |`, `|---|${shown.map(() => '---|').join('')}`, ...rows, '',
    ...Object.keys(c.ratios).map((peer) => ratioLine(c, peer)),
    ...(run === undefined ? [] : [`- From \`.start()\` to the first step's event: ${range(run.startToFirstStep, 1)} s; the process that starts it takes ${range(run.frontMiB)} MiB beside.`]),
    ...Object.entries(c.refused).map(([side, why]) => `- ${nameOf(side)}: ${why}.`),
    ...Object.entries(c.failed).map(([side, why]) => `- ${nameOf(side)} **failed**: ${why}`),
    ...(c.emulated ? ['- This CPU has no bf16 instructions: ATen emulates the products of the peers, so these are the fewest steps.'] : []),
    ...(busy ? [`- **Other work took ${Math.round(c.load * 100)}% of the cores when this began: read ratios only, and with care.**`] : []),
  ].join('\n')
}

/** What stands beside the figures: the machine and the versions. */
export function aboutLine({ machine, threads, kernels, versions, tcmalloc }) {
  const peers = Object.values(versions).flat().filter((text, i, all) => all.indexOf(text) === i).map((text) => text.replace('==', ' '))
  const allocator = tcmalloc ? 'tcmalloc' : "the system's allocator (no tcmalloc was to be had)", beside = peers.length === 0 ? '' : ` Peers: ${peers.join(', ')}; their best forms on ${allocator}.`
  return `Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.features.join(' ')}; threads ${threads}; kernels ${kernels}.${beside}`
}

function dispatchLine({ typescript, python, ratio }) {
  const ns = (s) => `${Math.round(s.median)} ns`
  return `Dispatch of a small operator (add of 2×2): ${ns(typescript)} from TypeScript, ${ns(python)} from Python; ratio ${range(ratio, 2)}.`
}

/** All of a machine's results. */
export function markdown(result) {
  return [aboutLine(result), '', ...Object.values(result.cases).flatMap((c) => [caseTable(c), '']), ...(result.dispatch ? [dispatchLine(result.dispatch)] : [])].join('\n').trim()
}
