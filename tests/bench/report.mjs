// From runs to figures: rates over the steps that all sides reached, ratios round by round, a table.

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
/** `{ min, median, max }` */
export const spread = (values) => ({ min: Math.min(...values), median: median(values), max: Math.max(...values) })

const warmup = 3
/** Steps that count: after the warm-up (or only the last, of very few), up to the `reached`-th. */
const counted = (run, reached = run.steps.length) => run.steps.slice(Math.min(warmup, reached - 1), reached)

function rate(steps, key = 'tokens') {
  return steps.reduce((sum, step) => sum + step[key], 0) / steps.reduce((sum, step) => sum + step.seconds, 0)
}

function figures(runs) {
  const late = runs.flatMap((run) => counted(run))
  return {
    tokensPerSecond: spread(runs.map((run) => rate(counted(run)))), supervisedPerSecond: spread(runs.map((run) => rate(counted(run), 'supervised'))),
    peakMiB: spread(runs.map((run) => run.peakMiB)), firstStep: spread(runs.map((run) => run.firstStep)),
    faults: spread(late.map((step) => step.faults)), steps: Math.min(...runs.map((run) => run.steps.length)), losses: runs[0].steps.map((s) => s.loss), form: runs[0].form,
  }
}

/** Fettle's run against a peer's of the same round, over the steps that both reached. */
function compare(fettle, peer) {
  const reached = Math.min(fettle.steps.length, peer.steps.length)
  const distance = Array.from({ length: reached }, (_, i) => Math.abs(fettle.steps[i].loss - peer.steps[i].loss) / peer.steps[i].loss)
  return { tokensPerSecond: rate(counted(fettle, reached)) / rate(counted(peer, reached)), peakMiB: fettle.peakMiB / peer.peakMiB, loss: Math.max(...distance) }
}

/** Figures of a case: per side, and Fettle's ratios to each peer, paired by round. */
export function summarize(rounds) {
  const sides = [...new Set(rounds.flat().map((run) => run.side))]
  const pairs = (peer) => rounds.flatMap((runs) => {
    const fettle = runs.find((run) => run.side === 'fettle'), other = runs.find((run) => run.side === peer)
    return fettle && other ? [compare(fettle, other)] : []
  })
  const ratios = (peer) => {
    const all = pairs(peer), of = (key) => spread(all.map((pair) => pair[key]))
    return { tokensPerSecond: of('tokensPerSecond'), peakMiB: of('peakMiB'), loss: of('loss').max }
  }
  return {
    sides: Object.fromEntries(sides.map((side) => [side, figures(rounds.flat().filter((run) => run.side === side))])),
    ratios: Object.fromEntries(sides.filter((side) => side !== 'fettle').map((peer) => [peer, ratios(peer)])),
  }
}

const number = (x, digits = 0) => x.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
const range = (s, digits) => (s.min === s.max ? number(s.median, digits) : `${number(s.median, digits)} (${number(s.min, digits)}–${number(s.max, digits)})`)
const names = { fettle: 'Fettle', 'fettle-plain': 'Fettle, plain blocks', best: 'best transformers + PEFT loop', plain: 'plain padded loop' }

/** A case as Markdown. */
export function table(name, { sides, ratios }) {
  const rows = Object.entries(sides).map(([side, s]) => `| ${names[side]} | ${s.steps} | ${range(s.tokensPerSecond)} | ${range(s.supervisedPerSecond)} | ${range(s.peakMiB)} | ${range(s.faults)} | ${range(s.firstStep, 1)} |`)
  const lines = Object.entries(ratios).map(([peer, r]) => `- against the ${names[peer]}: **${range(r.tokensPerSecond, 2)}×** the tokens/s, ${range(r.peakMiB, 2)}× its peak memory; losses within ${number(100 * r.loss, 2)}%`)
  return [
    `### ${name}`, '',
    '| | steps | tokens/s | supervised tokens/s | peak memory, MiB | page faults a step after the third | process start to first step, s |', '|---|---|---|---|---|---|---|', ...rows, '', ...lines,
  ].join('\n')
}
