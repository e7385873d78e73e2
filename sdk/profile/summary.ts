import { flat, framesOf, type Frame } from './tree'
import type { GemmLimit, RankProfile } from './types'

/** A row of the table of blocks: all calls of one kind, a mean step. */
export interface BlockRow {
  /** The block's id, or the part of the step; `between`: what no block or part explains. */
  readonly name: string
  /** Calls a step. */
  readonly calls: number
  /** ms of a step in forwards, those that run again included. */
  readonly forward: number
  /** ms of a step in backwards. */
  readonly backward: number
  /** ms of a step; of a part it is neither forward nor backward. Collectives within are not counted. */
  readonly ms: number
  /** Share of the step, 0 to 1. All rows sum to 1. */
  readonly share: number
  /** Floating-point operations of its matrix products in a step. */
  readonly flops: number
  /** Those per second; 0 where it has no products. */
  readonly rate: number
  /** Share of the machine's limit for matrix products, 0 to 1. */
  readonly ofLimit: number
  /** Minor page faults a step. */
  readonly faults: number
}

/** A row of the table of layers, a mean step. */
export interface LayerRow {
  /** `embedding`, a layer's number, `head`. */
  readonly name: string
  /** ms in its forwards. */
  readonly forward: number
  /** ms in its backwards, what runs again included. */
  readonly backward: number
  /** Share of the step, 0 to 1. */
  readonly share: number
  /** Floating-point operations of its matrix products. */
  readonly flops: number
  /** Those per second. */
  readonly rate: number
}

/** What a step came to, a mean one. */
export interface StepTotals {
  /** Duration. */
  readonly ms: number
  /** All its tokens. */
  readonly tokens: number
  /** Tokens over time. */
  readonly tokensPerSecond: number
  /** Floating-point operations of its matrix products. */
  readonly flops: number
  /** Those over the whole step's time. */
  readonly rate: number
  /** Share of the machine's limit that the whole step reaches, 0 to 1. */
  readonly ofLimit: number
  /** Minor page faults. */
  readonly faults: number
}

interface Sum { calls: number; forward: number; backward: number; other: number; flops: number; faults: number }

/** Time of a frame without that of the collectives in it. */
function own({ ms, children }: Frame): number { return ms - children.filter(({ kind }) => kind === 'communication').reduce((sum, child) => sum + child.ms, 0) }

function add(table: Map<string, Sum>, name: string, frame: Frame): void {
  const sum = table.get(name) ?? { calls: 0, forward: 0, backward: 0, other: 0, flops: 0, faults: 0 }, { span } = frame, time = own(frame)
  table.set(name, sum)
  sum.calls++
  if (span!.kind !== 'block') sum.other += time
  else if (span!.pass === 'backward') sum.backward += time
  else sum.forward += time
  sum.flops += span!.flops
  sum.faults += span!.faults
}

/** Leaves of the tree: blocks, parts but the walk, collectives. */
function leavesOf(rank: RankProfile): Frame[] {
  return framesOf(rank).flatMap((step) => [...flat(step)]).filter(({ span }) => span !== null && !(span.kind === 'part' && span.name === 'walk'))
}

/** Where the time of a mean step goes, the longest first. */
export function blockRows(rank: RankProfile, limit: GemmLimit): BlockRow[] {
  const table = new Map<string, Sum>(), count = Math.max(1, rank.steps.length), all = rank.steps.reduce((sum, { ms }) => sum + ms, 0)
  for (const frame of leavesOf(rank)) add(table, frame.name, frame)
  const rows = [...table].map(([name, { calls, forward, backward, other, flops, faults }]): BlockRow => {
    const ms = forward + backward + other, rate = flops === 0 ? 0 : flops / ms * 1000
    return { name, calls: calls / count, forward: forward / count, backward: backward / count, ms: ms / count, share: ms / all, flops: flops / count, rate, ofLimit: rate / limit.best, faults: faults / count }
  })
  const rest = all / count - rows.reduce((sum, { ms }) => sum + ms, 0)
  return [...rows.sort((a, b) => b.ms - a.ms), { name: 'between', calls: 0, forward: 0, backward: 0, ms: rest, share: rest * count / all, flops: 0, rate: 0, ofLimit: 0, faults: 0 }]
}

/** Where the time of a mean step goes, by layer in order. */
export function layerRows(rank: RankProfile): LayerRow[] {
  const table = new Map<string, Sum>(), count = Math.max(1, rank.steps.length), all = rank.steps.reduce((sum, { ms }) => sum + ms, 0)
  for (const step of framesOf(rank)) for (const frame of flat(step)) {
    const { span } = frame
    if (span === null || span.kind !== 'block') continue
    const name = span.layer >= 0 ? String(span.layer) : span.name === 'head' || span.name === 'finalNorm' || span.name === 'projectOut' ? 'head' : 'embedding'
    // What runs again is a part of the backward's price.
    add(table, name, span.pass === 'recompute' ? { ...frame, span: { ...span, pass: 'backward' } } : frame)
  }
  const order = (name: string): number => (name === 'embedding' ? -1 : name === 'head' ? Infinity : Number(name))
  return [...table].sort(([a], [b]) => order(a) - order(b)).map(([name, { forward, backward, flops }]) => ({
    name, forward: forward / count, backward: backward / count, share: (forward + backward) / all, flops: flops / count, rate: flops / (forward + backward) * 1000,
  }))
}

/** The mean step. */
export function totalsOf({ steps, spans }: RankProfile, limit: GemmLimit): StepTotals {
  const count = Math.max(1, steps.length), ms = steps.reduce((sum, step) => sum + step.ms, 0), tokens = steps.reduce((sum, step) => sum + step.tokens, 0)
  const flops = spans.reduce((sum, span) => sum + span.flops, 0), faults = spans.reduce((sum, { kind, faults: own }) => sum + (kind === 'part' ? own : 0), 0)
  const rate = flops / ms * 1000
  return { ms: ms / count, tokens: tokens / count, tokensPerSecond: tokens / ms * 1000, flops: flops / count, rate, ofLimit: rate / limit.best, faults: faults / count }
}
