import { stepMemory } from '../models/memory'
import type { Architecture } from '../models/architecture'
import type { Recompute } from '../train/walk'
import type { Calibration } from './calibration'
import type { Micro } from './steps'

/** Planned buffers come in steps of so many rows. */
const rowStep = 128
/** Rows of logits that exist at once in the plain form, and about as many in the fused one. */
const headRows = 512

/** What a process that trains takes beside one that tries: events, logs, the control channel. */
const running = 8 << 20
/** Free memory between blocks that malloc cannot give to others, as a share of what steps take. */
const scattered = 0.04

/** What a rank of so many layers takes, in bytes, beside what it holds all the time. */
export interface StepBytes {
  /** What layers keep from their forward to their backward. */
  readonly activations: number
  /** Buffers that layers share, what operators take for a moment, and packed weights. */
  readonly workspace: number
  readonly head: number
}

/** s of one micro-batch: a layer forward and backward, and what stands outside the layers. */
export interface MicroSeconds { readonly forward: number; readonly backward: number; readonly embed: number; readonly head: number }

/** What a calibration says of batches of other sizes than those that it tried: straight lines through what it measured. */
export class Curves {
  /** Resident bytes of the process before it holds a model. */
  readonly base: number

  constructor(private readonly architecture: Architecture, readonly calibration: Calibration) { this.base = calibration.base + running }

  /** Which forms of recompute were tried. */
  has(recompute: Recompute): boolean { return this.calibration.points.some((point) => point.recompute === recompute) }

  /** @param layers times micro-batches in flight */
  bytes({ tokens, longest, supervised }: Micro, recompute: Recompute, layers: number, held: number): StepBytes {
    const [small, large] = this.lean(recompute), rows = padded(tokens)
    const line = (of: (point: Point) => number): number => through([padded(small.tokens), of(small)], [padded(large.tokens), of(large)], rows)
    const own = (point: Point): number => point.peak - this.calibration.base - point.state - point.layers * (point.kept + point.packed) - this.scores(point.longest)
    const activations = layers * line(({ kept }) => kept), shared = line(own) + held * line(({ packed }) => packed) + this.scores(longest), head = this.headBytes(supervised)
    return { activations, workspace: shared + scattered * (activations + shared + head), head }
  }

  seconds({ tokens, supervised }: Micro, recompute: Recompute): MicroSeconds {
    const [small, large] = this.lean(recompute), [fullSmall, fullLarge] = this.full()
    const line = (of: (point: Point) => number): number => lasting([small.tokens, of(small)], [large.tokens, of(large)], tokens)
    return {
      forward: line((point) => this.shortest(point, 'forward') / point.layers), backward: line((point) => this.shortest(point, 'backward') / point.layers), embed: line((point) => point.embed),
      head: lasting([fullSmall.supervised, fullSmall.head], [fullLarge.supervised, fullLarge.head], supervised),
    }
  }

  /** Layers do the same whatever the head does, so that batches of the same rows tell it twice. */
  private shortest({ tokens, recompute }: Point, of: 'forward' | 'backward'): number {
    return Math.min(...this.calibration.points.filter((point) => point.tokens === tokens && point.recompute === recompute).map((point) => point[of]))
  }

  /** s of a step outside its passes for each value that trains. */
  get update(): number { return Math.min(...this.calibration.points.map(({ rest, trainable }) => rest / trainable)) }

  /** The head's logits on top of a batch that has next to none: in chunks, so that they do not grow for ever. */
  private headBytes(supervised: number): number {
    const [, full] = this.full(), [, lean] = this.lean(full.recompute)
    const most = Math.max(full.supervised, headRows), more = Math.max(0, full.peak - lean.peak) / Math.max(1, full.supervised - lean.supervised)
    return more * Math.min(supervised, most)
  }

  /** Biases and masks of attention, which grow by the square of the longest row. */
  private scores(longest: number): number { return stepMemory(this.architecture, { tokens: 0, longest, bytesPerValue: 4, recompute: false }) }

  private lean(recompute: Recompute): readonly Point[] { return this.pair(recompute, (point) => point.supervised <= point.sequences) }
  private full(): readonly Point[] {
    const most = [...this.calibration.points].sort((a, b) => b.supervised - a.supervised)[0]
    return this.pair(most.recompute, (point) => point.supervised > point.sequences || most.supervised <= most.sequences)
  }

  private pair(recompute: Recompute, which: (point: Point) => boolean): readonly Point[] {
    const found = this.calibration.points.filter((point) => point.recompute === recompute && which(point)).sort((a, b) => a.tokens - b.tokens)
    return [found[0], found[found.length - 1]]
  }
}

type Point = Calibration['points'][number]

function padded(tokens: number): number { return Math.ceil(tokens / rowStep) * rowStep }

/** The same for times. More tokens at once never cost more each: where noise says so, all cost the same. */
function lasting([x0, y0]: readonly [number, number], [x1, y1]: readonly [number, number], x: number): number {
  const rising = y1 >= y0 && x1 > x0, cheaper = y1 * x0 <= y0 * x1
  return rising && cheaper ? through([x0, y0], [x1, y1], x) : x * (y0 + y1) / Math.max(1, x0 + x1)
}

/** The line through two points, never falling below 0; through one, in proportion. */
function through([x0, y0]: readonly [number, number], [x1, y1]: readonly [number, number], x: number): number {
  if (x1 === x0) return y1 * x / Math.max(1, x1)
  return Math.max(0, y0 + (y1 - y0) * (x - x0) / (x1 - x0))
}
