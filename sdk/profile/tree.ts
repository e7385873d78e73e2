import type { ProfileSpan, ProfileStep, RankProfile } from './types'

/** A stretch of a step and what ran in it: step > part > forward, head or backward > layer > half > block > collective. */
export interface Frame {
  /** What a reader sees: `step 4`, `forward`, `layer 12`, `MLP`, `down`. */
  readonly name: string
  readonly kind: 'step' | 'part' | 'phase' | 'layer' | 'half' | 'block' | 'communication'
  /** 0: a step. */
  readonly depth: number
  /** ms since the first profiled step began. */
  readonly start: number
  readonly ms: number
  /** Of a part, a block or a collective. */
  readonly span: ProfileSpan | null
  readonly children: readonly Frame[]
}

const embedding = new Set(['embedding', 'embeddingNorm', 'projectIn'])
const attentionHalf = new Set(['inputNorm', 'qkv', 'queryKeyNorm', 'rotary', 'attention', 'out', 'outNorm'])

/** The steps of a rank, each a tree. */
export function framesOf({ steps, spans }: Pick<RankProfile, 'steps' | 'spans'>): Frame[] {
  const ordered = [...spans].sort((a, b) => a.start - b.start || b.ms - a.ms)
  let from = 0
  return steps.map((step) => {
    const end = step.start + step.ms, own: ProfileSpan[] = []
    while (from < ordered.length && ordered[from].start < step.start) from++
    for (; from < ordered.length && ordered[from].start < end; from++) own.push(ordered[from])
    return stepFrame(step, own)
  })
}

/** All frames below one, and itself, in the order of time. */
export function* flat(frame: Frame): Generator<Frame, void, void> {
  yield frame
  for (const child of frame.children) yield* flat(child)
}

/** A span and those inside it. */
interface Nest { readonly span: ProfileSpan; readonly inside: Nest[] }

function stepFrame({ step, start, ms }: ProfileStep, spans: readonly ProfileSpan[]): Frame {
  const children = nest(spans).map((each): Frame => (each.span.name === 'walk' && each.span.kind === 'part' ? walkFrame(each) : leaf(each, 1)))
  return { name: `step ${step}`, kind: 'step', depth: 0, start, ms, span: null, children }
}

/** @param spans by their begin, the longer first */
function nest(spans: readonly ProfileSpan[]): Nest[] {
  const top: Nest[] = [], open: Nest[] = []
  for (const span of spans) {
    while (open.length > 0 && endOf(open[open.length - 1].span) <= span.start) open.pop()
    const own: Nest = { span, inside: [] }
    ;(open[open.length - 1]?.inside ?? top).push(own)
    open.push(own)
  }
  return top
}

function endOf({ start, ms }: ProfileSpan): number { return start + ms }

function leaf({ span, inside }: Nest, depth: number): Frame {
  return { name: span.name, kind: span.kind, depth, start: span.start, ms: span.ms, span, children: inside.map((each) => leaf(each, depth + 1)) }
}

function walkFrame({ span, inside }: Nest): Frame {
  const phases = runsOf(inside, phaseOf).map(([phase, blocks]): Frame => group(phase, 'phase', 2, runsOf(blocks, layerOf).flatMap(([layer, own]) =>
    layer === '' ? own.map((each) => leaf(each, 3))
      : [group(layer, 'layer', 3, runsOf(own, halfOf).map(([half, members]) => group(half, 'half', 4, members.map((each) => leaf(each, 5)))))])))
  return { name: span.name, kind: 'part', depth: 1, start: span.start, ms: span.ms, span, children: phases }
}

/** Neighbours with one key, together. A collective between two blocks belongs to those before it. */
function runsOf(all: readonly Nest[], key: (span: ProfileSpan) => string): [string, Nest[]][] {
  const runs: [string, Nest[]][] = []
  for (const each of all) {
    const last = runs[runs.length - 1], own = each.span.kind === 'block' ? key(each.span) : last?.[0] ?? 'communication'
    if (last !== undefined && last[0] === own) last[1].push(each)
    else runs.push([own, [each]])
  }
  return runs
}

function group(name: string, kind: Frame['kind'], depth: number, children: readonly Frame[]): Frame {
  const first = children[0], last = children[children.length - 1]
  return { name, kind, depth, start: first.start, ms: last.start + last.ms - first.start, span: null, children }
}

function phaseOf({ layer, name, pass }: ProfileSpan): string {
  if (layer >= 0) return pass === 'forward' ? 'forward' : 'backward'
  return embedding.has(name) ? (pass === 'backward' ? 'embedding backward' : 'embedding') : 'head and loss'
}
function layerOf({ layer }: ProfileSpan): string { return layer < 0 ? '' : `layer ${layer}` }
function halfOf({ name }: ProfileSpan): string { return attentionHalf.has(name) ? 'attention half' : 'MLP half' }
