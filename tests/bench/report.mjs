// From runs to figures: rates over the steps that all sides reached, ratios round by round, a table.

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
/** `{ min, median, max }` */
export const spread = (values) => ({ min: Math.min(...values), median: median(values), max: Math.max(...values) })

/** Steps that count: after the warm-up, and only those that every run of the case reached. */
function counted(runs, warmup) {
  const reached = Math.min(...runs.map((run) => run.steps.length))
  return { from: Math.min(warmup, reached - 1), to: reached }
}

function figures(run, { from, to }) {
  const steps = run.steps.slice(from, to), sum = (key) => steps.reduce((total, step) => total + step[key], 0)
  const late = run.steps.slice(Math.min(3, run.steps.length - 1))
  return {
    side: run.side, tokensPerSecond: sum('tokens') / sum('seconds'), supervisedPerSecond: sum('supervised') / sum('seconds'), peakMiB: run.peakMiB, firstStep: run.firstStep,
    faults: median(late.map((s) => s.faults)), worstFaults: Math.max(...late.map((s) => s.faults)), losses: run.steps.map((s) => s.loss), form: run.form,
  }
}

/** Figures of a case: per side, and Fettle's ratios to each peer, paired by round. */
export function summarize(rounds, warmup) {
  const range = counted(rounds.flat(), warmup)
  const all = rounds.map((runs) => runs.map((run) => figures(run, range)))
  const of = (side) => all.flat().filter((f) => f.side === side)
  const sides = [...new Set(all.flat().map((f) => f.side))]
  const perSide = Object.fromEntries(sides.map((side) => [side, {
    tokensPerSecond: spread(of(side).map((f) => f.tokensPerSecond)), supervisedPerSecond: spread(of(side).map((f) => f.supervisedPerSecond)),
    peakMiB: spread(of(side).map((f) => f.peakMiB)), firstStep: spread(of(side).map((f) => f.firstStep)), faults: spread(of(side).map((f) => f.faults)),
    worstFaults: Math.max(...of(side).map((f) => f.worstFaults)), losses: of(side)[0].losses, form: of(side)[0].form,
  }]))
  const ratio = (peer, key) => {
    const pairs = all.map((runs) => [runs.find((f) => f.side === 'fettle'), runs.find((f) => f.side === peer)]).filter(([f, p]) => f && p)
    return spread(pairs.map(([f, p]) => f[key] / p[key]))
  }
  const peers = sides.filter((side) => side !== 'fettle')
  return {
    steps: { from: range.from + 1, to: range.to }, sides: perSide,
    ratios: Object.fromEntries(peers.map((peer) => [peer, { tokensPerSecond: ratio(peer, 'tokensPerSecond'), peakMiB: ratio(peer, 'peakMiB'), loss: lossDistance(of('fettle')[0], of(peer)[0]) }])),
  }
}

/** Largest difference of two loss curves, relative to the peer's, over the steps both reached. */
function lossDistance(fettle, peer) {
  const n = Math.min(fettle.losses.length, peer.losses.length)
  return Math.max(...Array.from({ length: n }, (_, i) => Math.abs(fettle.losses[i] - peer.losses[i]) / peer.losses[i]))
}

const number = (x, digits = 0) => x.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
const range = (s, digits) => (s.min === s.max ? number(s.median, digits) : `${number(s.median, digits)} (${number(s.min, digits)}–${number(s.max, digits)})`)
const names = { fettle: 'Fettle', 'fettle-plain': 'Fettle, plain blocks', best: 'best transformers + PEFT loop', plain: 'plain padded loop' }

/** A case as Markdown. */
export function table(name, { steps, sides, ratios }) {
  const rows = Object.entries(sides).map(([side, s]) => `| ${names[side]} | ${range(s.tokensPerSecond)} | ${range(s.supervisedPerSecond)} | ${range(s.peakMiB)} | ${range(s.faults)} | ${range(s.firstStep, 1)} |`)
  const lines = Object.entries(ratios).map(([peer, r]) => `- against the ${names[peer]}: **${range(r.tokensPerSecond, 2)}×** the tokens/s, ${range(r.peakMiB, 2)}× its peak memory; losses within ${number(100 * r.loss, 2)}%`)
  return [
    `### ${name}`, '', `Rates over steps ${steps.from} to ${steps.to}.`, '',
    '| | tokens/s | supervised tokens/s | peak memory, MiB | page faults a step after the third | process start to first step, s |', '|---|---|---|---|---|---|', ...rows, '', ...lines,
  ].join('\n')
}
