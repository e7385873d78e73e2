// From runs to figures: rates over the steps that sides reached, ratios round by round, and whether all compute the same.

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
/** `{ min, median, max }` */
export const spread = (values) => ({ min: Math.min(...values), median: median(values), max: Math.max(...values) })

/** Steps that are not counted: three of training (the first has the largest batch), the first of generation. */
const warmup = ({ steps }) => (steps[0].firstToken === undefined ? 3 : 1)
/** Steps that count: after the warm-up (or only the last, of very few), up to the `reached`-th. */
export const counted = (run, reached = run.steps.length) => run.steps.slice(Math.min(warmup(run), reached - 1), reached)

/** What `key` adds up to over the seconds of the steps. */
export function rate(steps, key = 'tokens') {
  return steps.reduce((sum, step) => sum + step[key], 0) / steps.reduce((sum, step) => sum + step.seconds, 0)
}

const firstToken = (steps) => median(steps.map((step) => step.firstToken))

function figures(runs) {
  const late = runs.flatMap((run) => counted(run)), generated = late[0].firstToken !== undefined, of = (value) => spread(runs.map(value))
  return {
    steps: Math.min(...runs.map((run) => run.steps.length)), form: runs[0].form, peakMiB: of((run) => run.peakMiB), firstStep: of((run) => run.firstStep), faults: spread(late.map((step) => step.faults)),
    tokensPerSecond: of((run) => rate(counted(run))),
    ...(generated ? { firstToken: of((run) => firstToken(counted(run))) } : { supervisedPerSecond: of((run) => rate(counted(run), 'supervised')), losses: runs[0].steps.map((step) => step.loss) }),
    ...(runs[0].startToFirstStep === undefined ? {} : { startToFirstStep: of((run) => run.startToFirstStep), frontMiB: of((run) => run.frontMiB) }),
  }
}

/** Fettle's run over a peer's of the same round, over the steps that both reached. */
function compare(fettle, peer) {
  const reached = Math.min(fettle.steps.length, peer.steps.length), [ours, theirs] = [counted(fettle, reached), counted(peer, reached)]
  const shared = { tokensPerSecond: rate(ours) / rate(theirs), peakMiB: fettle.peakMiB / peer.peakMiB, firstStep: fettle.firstStep / peer.firstStep }
  return ours[0].firstToken === undefined ? { ...shared, supervisedPerSecond: rate(ours, 'supervised') / rate(theirs, 'supervised') } : { ...shared, firstToken: firstToken(ours) / firstToken(theirs) }
}

/** Relative distance of first losses that a type's rounding explains. Sides that compute the same stay far below it. */
export const limits = { fp32: 1e-3, bf16: 3e-2 }

/**
 * How far a peer is from Fettle: of the first step's loss, relative; in generation the share of tokens that differ, where in fp32
 * the first of each row must be the same one. `agrees`: within what the type's rounding explains.
 */
export function agreement(fettle, peer, dtype) {
  const [ours, theirs] = [fettle.steps[0], peer.steps[0]]
  if (ours.loss !== undefined) {
    const distance = Math.abs(ours.loss - theirs.loss) / Math.abs(theirs.loss)
    return { kind: 'loss', fettle: ours.loss, peer: theirs.loss, distance, agrees: distance <= limits[dtype] }
  }
  const pairs = ours.ids.flatMap((row, i) => row.map((id, t) => id === theirs.ids[i]?.[t])), first = ours.ids.every((row, i) => row[0] === theirs.ids[i]?.[0])
  // In bf16 the two likeliest tokens may be one rounding apart.
  return { kind: 'tokens', distance: 1 - pairs.filter(Boolean).length / pairs.length, agrees: first || dtype === 'bf16' }
}

/** Figures of a case from its rounds of runs: per side, and Fettle over each peer, paired by round. */
export function summarize(rounds, dtype) {
  const runs = rounds.flat(), sides = [...new Set(runs.map((run) => run.side))], peers = sides.filter((side) => side.includes(':') || side === 'fettle-plain')
  const pairs = (peer) => rounds.flatMap((round) => {
    const fettle = round.find((run) => run.side === 'fettle'), other = round.find((run) => run.side === peer)
    return fettle && other ? [[fettle, other]] : []
  })
  const compared = Object.fromEntries(peers.map((peer) => [peer, pairs(peer)]).filter(([, found]) => found.length > 0))
  const ratios = (found) => {
    const all = found.map(([fettle, peer]) => compare(fettle, peer))
    return Object.fromEntries(Object.keys(all[0]).map((key) => [key, spread(all.map((one) => one[key]))]))
  }
  return {
    sides: Object.fromEntries(sides.map((side) => [side, figures(runs.filter((run) => run.side === side))])),
    ratios: Object.fromEntries(Object.entries(compared).map(([peer, found]) => [peer, ratios(found)])),
    agreement: Object.fromEntries(Object.entries(compared).map(([peer, [[fettle, other]]]) => [peer, agreement(fettle, other, dtype)])),
  }
}
