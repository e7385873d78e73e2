import { keep, ops, scope, type Device, type DType, type ProcessGroup, type Tensor, type Work } from 'fettle-native'
import { elements } from '../../models/flat'
import type { Weight } from '../../models/blocks/types'
import type { StoredWeight } from '../../models/layout'
import type { LayerHooks } from '../../models/parameters'
import { UnitBuffers, unitsOf, type Unit } from './units'

/**
 * Values that ranks divide between them and gather layer by layer: two buffers serve all layers in turns. A layer is
 * gathered before it runs, while the one before it computes. What stands outside the layers is gathered once.
 */
export class GatheredValues {
  private readonly inSlot: (number | null)[] = [null, null]
  private readonly onTheWay = new Map<number, Work>()
  private last = -1

  /** @param own this rank's share of all units, one after the other */
  constructor(private readonly units: readonly Unit[], private readonly buffers: UnitBuffers, private readonly own: Tensor, private readonly group: ProcessGroup) {}

  /** Before a layer runs. */
  enter(layer: number): void {
    this.hold(layer)
    this.arrive(layer)
    // The next one on the way there, or on the way back.
    if (layer !== this.last) this.hold(layer < this.last ? layer - 1 : layer + 1)
    this.last = layer
  }

  /** The shares have changed: what was gathered is stale. */
  renew(): void {
    for (const layer of [...this.onTheWay.keys()]) this.arrive(layer)
    this.inSlot.fill(null)
    this.last = -1
    const works = this.units.filter((unit) => !this.buffers.inTurns(unit)).map((unit) => this.gather(unit))
    for (const work of works) work.wait()
  }

  private hold(layer: number): void {
    const unit = this.units.find((each) => each.layer === layer), slot = Math.abs(layer) % 2
    if (unit === undefined || !this.buffers.inTurns(unit) || this.inSlot[slot] === layer) return
    // What was on its way into the same buffer must not come after.
    const before = this.inSlot[slot]
    if (before !== null) this.arrive(before)
    this.inSlot[slot] = layer
    this.onTheWay.set(layer, this.gather(unit))
  }

  private arrive(layer: number): void {
    this.onTheWay.get(layer)?.wait()
    this.onTheWay.delete(layer)
  }

  private gather(unit: Unit): Work {
    return scope(() => this.group.allGather(this.buffers.of(unit), ops.narrow(this.own, 0, unit.ownStart, unit.share), true))
  }
}

/** Frozen weights that ranks divide between them: an adapter trains on a base of which each rank keeps a share. */
export class ShardedFrozen implements LayerHooks {
  readonly frozen = true
  readonly weights: readonly Weight[]
  private readonly units: readonly Unit[]
  private readonly starts: number[]
  private readonly own: Tensor
  private readonly buffers: UnitBuffers
  private readonly gathered: GatheredValues

  /** @param layers of the whole model */
  constructor(private readonly specs: readonly StoredWeight[], layers: number, dtype: DType, device: Device, private readonly group: ProcessGroup) {
    this.starts = new Array<number>(specs.length)
    this.units = unitsOf(specs, group.size, this.starts)
    this.own = keep(ops.zeros([this.units.reduce((sum, { share }) => sum + share, 0)], { dtype, device }))
    this.buffers = new UnitBuffers(this.units, ({ layer }) => layer >= 0 && layer < layers, (size) => keep(ops.zeros([size], { dtype, device })))
    this.gathered = new GatheredValues(this.units, this.buffers, this.own, group)
    this.weights = specs.map((spec, i) => {
      const unit = this.units.find(({ layer }) => layer === spec.layer) as Unit
      return { value: this.buffers.view(unit, this.starts[i], spec.shape), master: null, grad: null }
    })
  }

  fill(index: number, write: (whole: Tensor) => void): void {
    scope(() => {
      const whole = ops.empty(this.specs[index].shape, { dtype: this.own.dtype, device: this.own.device })
      write(whole)
      const piece = ownPiece(this.units, this.group, this.starts[index], elements(this.specs[index].shape))
      if (piece !== null) ops.copy_(ops.narrow(this.own, 0, piece.start, piece.length), ops.narrow(ops.view(whole, [whole.numel]), 0, piece.from, piece.length))
    })
  }

  sync(): void { this.gathered.renew() }

  enter(layer: number): void { this.gathered.enter(layer) }
  done(): void { /* frozen: no gradient */ }

  free(): void {
    this.own.free()
    this.buffers.free()
  }
}

/** What of a stretch of all values is in this rank's share. */
export function ownPiece(units: readonly Unit[], { rank }: ProcessGroup, start: number, length: number): { readonly from: number; readonly start: number; readonly length: number } | null {
  const unit = units.find((each) => start >= each.start && start < each.start + each.length) as Unit
  const own = unit.start + rank * unit.share, first = Math.max(start, own), end = Math.min(start + length, own + unit.share)
  return end <= first ? null : { from: first - start, start: unit.ownStart + first - own, length: end - first }
}
