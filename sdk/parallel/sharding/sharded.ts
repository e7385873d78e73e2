import { keep, ops, scope, type Device, type DType, type ProcessGroup, type Tensor, type Work } from 'fettle-native'
import type { FlatSpec, Piece, Range, TrainedValues } from '../../models/flat'
import type { LayerHooks } from '../../models/parameters'
import type { Weight } from '../../models/blocks/types'
import { GatheredValues, ownPiece } from './gathered'
import { UnitBuffers, unitsOf, type Unit } from './units'

/** What ranks divide: 1 the optimizer's state, 2 gradients too, 3 parameters too. */
export type ShardingStage = 1 | 2 | 3

/**
 * What trains, divided between ranks (ZeRO, arXiv 1910.02054). Masters, gradients and moments: each rank keeps its share
 * of each layer. Gradients of a layer exist whole only where the stage says so: from stage 2 on two layers' buffers
 * serve all, and each layer's gradient is summed into the shares as soon as its backward ends. In stage 3 the same holds
 * of the values that are computed with (`GatheredValues`). What stands outside the layers (embedding, head, last norm) is
 * used at both ends of a pass and stays whole in all stages.
 */
export class ShardedParameters implements TrainedValues, LayerHooks {
  readonly divided = true
  readonly master: Tensor
  readonly grad: Tensor
  readonly size: number
  readonly weights: readonly Weight[]
  /** The micro-batch that runs is the window's last: its gradients may leave as they come, in stage 1 too. */
  lastOfWindow = false
  private readonly units: readonly Unit[]
  private readonly starts: number[]
  /** Own share in the type that the model computes in; the masters themselves where that is fp32. */
  private readonly ownValues: Tensor
  private readonly values: UnitBuffers
  private readonly grads: UnitBuffers
  private readonly gathered: GatheredValues
  /** On their way into the shares. */
  private readonly arriving: { readonly unit: Unit; readonly sent: Tensor; readonly pieces: Tensor; readonly work: Work }[] = []
  private readonly left = new Set<Unit>()

  /** @param layers of the whole model */
  constructor(private readonly specs: readonly FlatSpec[], layers: number, dtype: DType, private readonly device: Device, readonly group: ProcessGroup, readonly stage: ShardingStage) {
    this.starts = new Array<number>(specs.length)
    this.units = unitsOf(specs, group.size, this.starts)
    this.size = this.units.reduce((sum, { share }) => sum + share, 0)
    const zeros = (size: number, type: DType): Tensor => keep(ops.zeros([size], { dtype: type, device }))
    this.master = zeros(this.size, 'float32')
    this.grad = zeros(this.size, 'float32')
    this.ownValues = dtype === 'float32' ? this.master : zeros(this.size, dtype)
    const isLayer = ({ layer }: Unit): boolean => layer >= 0 && layer < layers
    this.values = new UnitBuffers(this.units, (unit) => stage === 3 && isLayer(unit), (size) => zeros(size, dtype))
    this.grads = new UnitBuffers(this.units, (unit) => stage >= 2 && isLayer(unit), (size) => zeros(size, 'float32'))
    this.gathered = new GatheredValues(this.units, this.values, this.ownValues, group)
    this.weights = specs.map((spec, i) => {
      const unit = this.units.find(({ layer }) => layer === spec.layer) as Unit
      return { value: this.values.view(unit, this.starts[i], spec.shape), master: null, grad: this.grads.view(unit, this.starts[i], spec.shape) }
    })
  }

  groups(): (Range & { readonly master: Tensor; readonly grad: Tensor })[] {
    return this.units.flatMap((unit) => unit.ranges.flatMap((range) => {
      const piece = this.own(range.start, range.length)
      if (piece === null) return []
      const { start, length } = piece
      return [{ ...range, start, length, master: ops.narrow(this.master, 0, start, length), grad: ops.narrow(this.grad, 0, start, length) }]
    }))
  }

  startOf(index: number): number { return this.starts[index] }

  own(start: number, length: number): Piece | null { return ownPiece(this.units, this.group, start, length) }

  fill(index: number, write: (master: Tensor) => void): void {
    scope(() => {
      const whole = ops.empty(this.specs[index].shape, { dtype: 'float32', device: this.device })
      write(whole)
      const piece = this.own(this.starts[index], whole.numel)
      if (piece !== null) ops.copy_(ops.narrow(this.master, 0, piece.start, piece.length), ops.narrow(ops.view(whole, [whole.numel]), 0, piece.from, piece.length))
    })
  }

  zeroGrad(): void {
    ops.zero_(this.grad)
    this.grads.zero()
    this.left.clear()
  }

  sync(): void {
    if (this.ownValues !== this.master) ops.copy_(this.ownValues, this.master)
    this.gathered.renew()
  }

  enter(layer: number): void { if (this.stage === 3) this.gathered.enter(layer) }

  done(layer: number): void {
    const unit = this.units.find((each) => each.layer === layer)
    if (unit !== undefined && (this.grads.inTurns(unit) || this.lastOfWindow)) this.reduce(unit)
  }

  /** After the backward of a window: what is still on its way arrives, and what has not left is summed. */
  finish(): void {
    for (const unit of this.units) if (!this.grads.inTurns(unit) && !this.left.has(unit)) this.reduce(unit)
    this.arrive(0)
    this.lastOfWindow = false
  }

  free(): void {
    for (const { value, grad } of this.weights) { value.free(); grad?.free() }
    for (const tensor of new Set([this.master, this.grad, this.ownValues])) tensor.free()
    this.values.free()
    this.grads.free()
  }

  /** Sends each rank its share of a unit's gradient; the unit's own buffer is free, and zero, at once. */
  private reduce(unit: Unit): void {
    this.left.add(unit)
    scope(() => {
      const whole = this.grads.of(unit), sent = keep(ops.clone(whole)), pieces = keep(ops.empty_like(whole))
      ops.zero_(whole)
      this.arriving.push({ unit, sent, pieces, work: this.group.allToAll(pieces, sent, true) })
    })
    this.arrive(1)
  }

  /** Adds what has come, in the order of ranks, so that sums are the same in each run; `left` may still be on their way. */
  private arrive(left: number): void {
    while (this.arriving.length > left) {
      const { unit, sent, pieces, work } = this.arriving.shift()!
      work.wait()
      scope(() => ops.add_(ops.narrow(this.grad, 0, unit.ownStart, unit.share), ops.sum_dim(ops.view(pieces, [this.group.size, unit.share]), [0])))
      sent.free()
      pieces.free()
    }
  }
}
