import { keep, ops, scope, tensor, type ProcessGroup, type Tensor, type Work } from 'fettle-native'
import { alignment, elements, FlatParameters } from '../models/flat'
import type { NamedParameter, Parameters } from '../models/parameters'
import type { Ranks } from './ranks'
import { ShardedParameters } from './sharding/sharded'

/** A stretch of this rank's gradient. */
interface Stretch { readonly start: number; readonly length: number }

/** Key/value groups that several tensor ranks hold: each makes a part of the gradient. */
interface HeldStretch extends Stretch { readonly slot: number; readonly slots: number }

/**
 * Makes the gradients of a window whole: sums what ranks made of the same weights over their own rows, heads or layers.
 * Where nothing is divided between data ranks, each layer's gradients start their sum as soon as its last backward ends.
 */
export class Gradients {
  private readonly arriving: { readonly part: Tensor; readonly work: Work }[] = []
  /** Gradients of which each rank makes a part, by those who must sum them. */
  private readonly partial: ReadonlyMap<ProcessGroup, readonly Stretch[]>
  private readonly held: readonly HeldStretch[]
  /** How much each stretch counts in the norm over all ranks: 1 / number of ranks that hold it. */
  private readonly counted: readonly (Stretch & { readonly share: number })[]
  /** Stretches that left with their layer. */
  private readonly left: Stretch[] = []
  private lastOfWindow = false

  constructor(private readonly ranks: Ranks, private readonly parameters: Parameters) {
    const flat = parameters.flat!
    const named = scope(() => parameters.trainable().map((parameter) => ({ parameter, size: parameter.value.numel })))
    const own = (start: number, length: number): Stretch[] => { const piece = flat.own(start, length); return piece === null ? [] : [piece] }
    const groups = new Map<ProcessGroup, Stretch[]>()
    for (const { parameter, size } of named) {
      const group = parameter.partial === null ? null : ranks.groups[parameter.partial]
      if (group !== null) groups.set(group, [...(groups.get(group) ?? []), ...own(parameter.start, size)])
    }
    this.partial = groups
    this.held = named.flatMap(({ parameter }) => heldStretches(parameter, ranks).flatMap(({ start, length, slot, slots }) => own(start, length).map((piece) => ({ ...piece, slot, slots }))))
    this.counted = joined(named.flatMap(({ parameter, size }) => shares(parameter, size, ranks).flatMap(({ start, length, share }) => own(start, length).map((piece) => ({ ...piece, share })))))
  }

  /** Whether the backward that follows is the last of its layers in the window: then gradients may leave layer by layer. */
  lastFollows(isLast: boolean): void {
    this.lastOfWindow = isLast
    if (this.parameters.flat instanceof ShardedParameters) this.parameters.flat.lastOfWindow = isLast
  }

  /** Behind a layer's backward. */
  done(layer: number): void {
    const { flat } = this.parameters, { data } = this.ranks.groups
    if (flat instanceof ShardedParameters) return flat.done(layer)
    if (!this.lastOfWindow || data === null || !(flat instanceof FlatParameters)) return
    for (const { start, length } of flat.rangesOf(layer)) this.leave(data, start, length)
  }

  /** Waits until all gradients are whole. */
  finish(): void {
    const { flat } = this.parameters, { data, replicas } = this.ranks.groups
    if (flat instanceof ShardedParameters) {
      flat.finish()
      if (replicas !== null) replicas.allReduce(flat.grad)
    } else if (data !== null) {
      this.rest(data)
      for (const { part, work } of this.arriving.splice(0)) { work.wait(); part.free() }
    }
    this.left.length = 0
    this.lastOfWindow = false
    for (const [group, stretches] of this.partial) this.sum(group, stretches)
    this.sumHeld()
  }

  /** Euclidean norm of the gradient of the whole model, squared: this rank's part of the sum over all ranks. */
  squares(): number {
    const { grad } = this.parameters.flat!
    // Data ranks hold the same sums; with sharding each holds a share of its own.
    const copies = this.parameters.flat instanceof ShardedParameters ? this.ranks.shape.dp : this.ranks.data.count
    return scope(() => {
      let sum = 0
      for (const share of new Set(this.counted.map((each) => each.share))) {
        const squares = this.counted.filter((each) => each.share === share).map(({ start, length }) => { const part = ops.narrow(grad, 0, start, length); return ops.view(ops.dot(part, part), [1]) })
        sum += share * ops.sum(ops.cat(squares), { dtype: 'float64' }).item()
      }
      return sum / copies
    })
  }

  private leave(group: ProcessGroup, start: number, length: number): void {
    const part = keep(ops.narrow((this.parameters.flat!).grad, 0, start, length))
    this.left.push({ start, length })
    this.arriving.push({ part, work: group.allReduce(part, 'sum', true) })
  }

  /** What did not leave with its layer. */
  private rest(group: ProcessGroup): void {
    const { size } = this.parameters.flat!
    let from = 0
    for (const { start, length } of [...this.left].sort((a, b) => a.start - b.start).concat({ start: size, length: 0 })) {
      if (start > from) this.leave(group, from, start - from)
      from = start + length
    }
  }

  /** One collective for many small stretches. */
  private sum(group: ProcessGroup, stretches: readonly Stretch[]): void {
    if (stretches.length === 0) return
    scope(() => {
      const { grad } = this.parameters.flat!, parts = stretches.map(({ start, length }) => ops.narrow(grad, 0, start, length))
      const joined = ops.cat(parts)
      group.allReduce(joined)
      ops.split_sizes(joined, stretches.map(({ length }) => length), 0).forEach((part, i) => ops.copy_(parts[i], part))
    })
  }

  /** Each rank puts its part into its group's place; the sum of all has every group's gradient. */
  private sumHeld(): void {
    if (this.held.length === 0) return
    scope(() => {
      const { grad } = this.parameters.flat!
      const tables = this.held.map(({ start, length, slot, slots }) => {
        const table = ops.zeros([slots * length], { dtype: 'float32', device: grad.device })
        ops.copy_(ops.narrow(table, 0, slot * length, length), ops.narrow(grad, 0, start, length))
        return table
      })
      const joined = ops.cat(tables)
      this.ranks.groups.tensor!.allReduce(joined)
      ops.split_sizes(joined, tables.map((table) => table.numel), 0).forEach((table, i) => {
        const { start, length, slot } = this.held[i]
        ops.copy_(ops.narrow(grad, 0, start, length), ops.narrow(table, 0, slot * length, length))
      })
    })
  }
}

/** Neighbours that count alike, as one: between them stand zeros alone. */
function joined(stretches: readonly (Stretch & { readonly share: number })[]): (Stretch & { readonly share: number })[] {
  return [...stretches].sort((a, b) => a.start - b.start).reduce<(Stretch & { readonly share: number })[]>((all, next) => {
    const last = all[all.length - 1]
    if (last !== undefined && last.share === next.share && next.start - (last.start + last.length) < alignment) all[all.length - 1] = { ...last, length: next.start + next.length - last.start }
    else all.push(next)
    return all
  }, [])
}

/** Rows of a parameter, in order, and how many ranks hold each stretch. */
function stretchesOf({ cut, value, start }: NamedParameter): (Stretch & { readonly holders: number })[] {
  const size = elements(value.shape)
  if (cut === null || cut.dim === 1 || cut.holders.every((holders) => holders === cut.holders[0])) return [{ start, length: size, holders: cut?.holders[0] ?? 1 }]
  const width = elements(value.shape.slice(1))
  let from = start
  return cut.stretches.map(({ length }, index) => {
    const stretch = { start: from, length: length * width, holders: cut.holders[index] }
    from += length * width
    return stretch
  })
}

function heldStretches(parameter: NamedParameter, { groups, place }: Ranks): HeldStretch[] {
  const { tensor: group } = groups
  if (group === null || parameter.cut === null) return []
  return stretchesOf(parameter).filter(({ holders }) => holders > 1)
    .map(({ start, length, holders }) => ({ start, length, slot: Math.floor(place.tp / holders), slots: group.size / holders }))
}

/** How often a parameter is held by the ranks of one model. */
function shares(parameter: NamedParameter, size: number, { shape }: Ranks): (Stretch & { readonly share: number })[] {
  const { cut, partial, start } = parameter
  if (partial === 'model') return [{ start, length: size, share: 1 / (shape.tp * shape.pp) }]
  const ends = partial === 'ends' ? 2 : 1
  if (cut === null) return [{ start, length: size, share: 1 / (ends * shape.tp) }]
  return stretchesOf(parameter).map(({ start: from, length, holders }) => ({ start: from, length, share: 1 / (ends * holders) }))
}

/** Sums of the ranks of a run: loss, hits and squares, of which each rank gives its part. */
export function sumOver(ranks: Ranks, parts: readonly number[]): number[] {
  const { world } = ranks.groups
  if (world === null) return [...parts]
  return scope(() => {
    const sums = tensor(Float64Array.from(parts))
    world.allReduce(sums)
    return sums.toArray()
  })
}
