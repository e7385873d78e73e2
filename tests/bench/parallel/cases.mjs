// What the parallel bench runs. Each case gives time, bytes, waiting and memory at once; tables pick what they need.

const meshName = ({ dp, sharding, pp, virtual, tp, sequenceParallel }) => [
  dp && `dp ${dp}`, sharding && `sharding ${sharding.degree}, stage ${sharding.stage}`, pp && `pp ${pp}${virtual ? `, virtual ${virtual}` : ''}`, tp && `tp ${tp}`, sequenceParallel && 'tokens divided',
].filter(Boolean).join(', ') || '1 rank'

const named = (kind, rest) => ({ kind, name: meshName(rest.mesh ?? {}), ...rest })

/** In turns, so that what else the machine does falls on all of them. */
export const rounds = 2
export const inTurns = [
  named('one', {}), named('apart', { apart: true }), named('dp', { mesh: { dp: 2 } }), named('after', { mesh: { dp: 2 }, overlap: false }),
]

const pipelines = [[2, 2], [2, 4], [2, 8], [4, 4], [4, 8]].flatMap(([pp, micros]) => [1, 2].map((virtual) =>
  named('pipe', { mesh: { pp, ...(virtual > 1 ? { virtual } : {}) }, rows: 1, micros, steps: 3, warmup: 1 })))

/** Short rows: what is left in memory is what trains. Two micro-batches, since what stages 2 and 3 send grows with them. */
const memories = [1, 2, 4].flatMap((ranks) => [0, 1, 2, 3].filter((stage) => ranks > 1 || stage === 0).map((stage) =>
  named('memory', { ranks, stage, mesh: stage === 0 ? (ranks > 1 ? { dp: ranks } : {}) : { sharding: { degree: ranks, stage } }, rows: 1, rowTokens: 32, micros: 2, steps: 2, warmup: 1 })))

export const once = [named('tp', { mesh: { tp: 2 } }), named('tp', { mesh: { tp: 2, sequenceParallel: true } }), ...pipelines, ...memories]
