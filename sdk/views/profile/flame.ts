import type { GemmLimit, RankProfile } from '../../profile/types'
import { flat, framesOf, type Frame } from '../../profile/tree'
import { digits, whole } from '../format'

/** A duration: whole ms where there are many. */
export function msText(ms: number): string { return ms >= 1000 ? whole(ms) : digits(ms, 3) }

/** What decides a box's colour. */
export type FlameColour = 'qkv' | 'out' | 'up' | 'down' | 'attention' | 'norm' | 'rotary' | 'activation' | 'head' | 'embedding' | 'optimizer' | 'data' | 'communication' | 'frame' | 'odd'

/** A box of a flame chart. */
export interface FlameBox {
  /** 0: parts of the step; below them phases, layers, halves, blocks, collectives. */
  readonly row: number
  /** ms from the step's begin. */
  readonly start: number
  readonly ms: number
  readonly label: string
  readonly colour: FlameColour
  /** Lines that a reader sees who points at it. */
  readonly hover: readonly string[]
}

/** One step as boxes. */
export interface Flame {
  readonly title: string
  /** Names of the rows. */
  readonly rows: readonly string[]
  /** ms. */
  readonly length: number
  readonly boxes: readonly FlameBox[]
}

const colours: Readonly<Record<string, FlameColour>> = {
  qkv: 'qkv', out: 'out', up: 'up', down: 'down', projectIn: 'up', projectOut: 'down', attention: 'attention', rotary: 'rotary', activation: 'activation', head: 'head', embedding: 'embedding',
  batches: 'data', zeroGrad: 'optimizer', gradNorm: 'optimizer', clip: 'optimizer', update: 'optimizer', weightsChanged: 'optimizer', reduce: 'communication', walk: 'frame',
}

/** Colours with what they stand for, in the order of a legend. */
export const legend: readonly (readonly [FlameColour, string])[] = [
  ['qkv', 'q, k, v'], ['attention', 'attention'], ['out', 'attention out'], ['up', 'up'], ['down', 'down'], ['norm', 'norms'], ['rotary', 'rotary'], ['activation', 'activation'], ['head', 'head and loss'], ['embedding', 'embedding'], ['optimizer', 'optimizer'], ['data', 'batches'], ['communication', 'communication'],
]

/** What readers call blocks and parts of a step. */
const names: Readonly<Record<string, string>> = {
  qkv: 'q, k, v', out: 'attention out', up: 'up', inputNorm: 'norm', postNorm: 'norm', outNorm: 'norm behind', downNorm: 'norm behind', queryKeyNorm: 'norms of q, k', finalNorm: 'final norm', embeddingNorm: 'norm',
  batches: 'batches', zeroGrad: 'zero gradients', walk: 'forward and backward', reduce: 'sum of gradients', gradNorm: 'gradient norm', clip: 'clip', update: 'AdamW', weightsChanged: 'copies of weights', between: 'between the blocks',
}

/** A block or part in a reader's words. */
export function nameOf(name: string): string { return names[name] ?? name }

/** The same where it stands alone: both norms of a layer have one name in a chart. */
export function fullName(name: string): string { return name === 'inputNorm' ? 'norm before attention' : name === 'postNorm' ? 'norm before MLP' : nameOf(name) }

/** The step of middling length: neither the first one's page faults nor a neighbour's work is what a reader wants to see. */
export function middleStep({ steps }: Pick<RankProfile, 'steps'>): number {
  const order = steps.map((_, i) => i).sort((a, b) => steps[a].ms - steps[b].ms)
  return order[Math.floor((order.length - 1) / 2)]
}

/** A step as a flame chart. */
export function flameOf(rank: RankProfile, limit: GemmLimit, index = middleStep(rank)): Flame {
  const frame = framesOf(rank)[index], { step, tokens } = rank.steps[index]
  const boxes = [...flat(frame)].filter(({ kind }) => kind !== 'step').map((each) => boxOf(each, frame, limit))
  return { title: `Step ${whole(step)}: ${msText(frame.ms)} ms, ${whole(tokens)} tokens`, rows: rowNames(boxes), length: frame.ms, boxes }
}

/** A layer of middling length, forward and backward: what the whole chart is too small to name. */
export function middleLayer(rank: RankProfile, limit: GemmLimit, index = middleStep(rank)): readonly Flame[] {
  const layers = [...flat(framesOf(rank)[index])].filter(({ kind, name }) => kind === 'layer' && name !== 'communication')
  // To a microsecond, so that of equal ones the order decides.
  const length = (name: string): number => Math.round(layers.filter((each) => each.name === name).reduce((sum, { ms }) => sum + ms, 0) * 1000)
  const names = [...new Set(layers.map(({ name }) => name))].sort((a, b) => length(a) - length(b) || Number(a.slice('layer '.length)) - Number(b.slice('layer '.length))), middle = names[names.length >> 1]
  const [forward, ...later] = layers.filter(({ name }) => name === middle)
  return [forward, later[later.length - 1]].filter((each): each is Frame => each !== undefined).map((layer, i) => ({
    title: `${layer.name[0].toUpperCase()}${layer.name.slice(1)}, ${i === 0 ? 'forward' : 'backward'}: ${msText(layer.ms)} ms`, rows: ['half', 'block'], length: layer.ms,
    boxes: [...flat(layer)].filter(({ kind }) => kind === 'half' || kind === 'block').map((each) => ({ ...boxOf(each, layer, limit), row: each.kind === 'half' ? 0 : 1 })),
  }))
}

function rowNames(boxes: readonly FlameBox[]): string[] {
  return ['step', 'pass', 'layer', 'half', 'block', 'ranks'].slice(0, Math.max(...boxes.map(({ row }) => row), 0) + 1)
}

function boxOf(frame: Frame, from: Frame, limit: GemmLimit): FlameBox {
  const { name, kind, depth, start, ms, span } = frame, recompute = span?.pass === 'recompute'
  const label = kind === 'layer' ? name.replace('layer ', '') : span === null ? name : nameOf(name)
  return { row: depth - 1, start: start - from.start, ms, label, colour: colourOf(frame), hover: [`${span !== null && span.layer >= 0 ? `layer ${span.layer}, ` : ''}${span === null ? name : fullName(name)}${span?.pass == null ? '' : recompute ? ', forward again' : `, ${span.pass}`}`, ...facts(frame, limit)] }
}

function facts({ ms, span }: Frame, limit: GemmLimit): string[] {
  const time = `${msText(ms)} ms`
  if (span === null) return [time]
  const rate = span.flops / ms * 1000
  return [
    [time, span.shape].filter((part) => part !== '').join(' · '),
    ...(span.flops === 0 ? [] : [`${digits(span.flops / 1e9, 3)} GFLOP · ${digits(rate / 1e9, 3)} GFLOP/s · ${Math.round(rate / limit.best * 100)}% of the limit`]),
    ...(span.faults === 0 ? [] : [`${whole(span.faults)} page faults`]),
  ]
}

function colourOf({ kind, name }: Frame): FlameColour {
  if (kind === 'communication') return 'communication'
  // Neighbouring layers in two tones, so that one sees where each ends.
  if (kind === 'layer') return Number(name.slice('layer '.length)) % 2 === 1 ? 'odd' : 'frame'
  if (kind === 'phase' || kind === 'half') return name === 'MLP half' || name === 'backward' ? 'odd' : 'frame'
  return colours[name] ?? (/norm$/i.test(name) ? 'norm' : 'frame')
}
