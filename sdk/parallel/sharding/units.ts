import { call, keep, ops, scope, type Tensor } from 'fettle-native'
import { alignment, layOut, viewOf, type FlatSpec, type Range } from '../../models/flat'

/** The parameters of one layer, or of what stands outside all, as ranks divide them. */
export interface Unit {
  readonly layer: number
  /** Among all values. */
  readonly start: number
  readonly length: number
  /** Values of each rank. */
  readonly share: number
  /** Where this rank's begin in its own buffers. */
  readonly ownStart: number
  readonly ranges: readonly Range[]
}

/** Lays parameters out by layers, each with room for equal shares. */
export function unitsOf(specs: readonly FlatSpec[], ranks: number, starts: number[]): Unit[] {
  const layers = [...new Set(specs.map(({ layer }) => layer as number))]
  let start = 0, ownStart = 0
  return layers.map((layer): Unit => {
    const ranges = layOut(specs, specs.flatMap((spec, i) => (spec.layer === layer ? [i] : [])), start, starts)
    const used = ranges.reduce((sum, { length }) => sum + length, 0), share = Math.ceil(used / ranks / alignment) * alignment
    const unit = { layer, start, length: share * ranks, share, ownStart, ranges }
    start += unit.length
    ownStart += share
    return unit
  })
}

/** Buffers of units: one each, or two that layers take in turns. */
export class UnitBuffers {
  private readonly turns: readonly Tensor[]
  private readonly whole = new Map<Unit, Tensor>()

  /** @param inTurns those that share two buffers */
  constructor(units: readonly Unit[], readonly inTurns: (unit: Unit) => boolean, make: (size: number) => Tensor) {
    const most = Math.max(0, ...units.filter(inTurns).map(({ length }) => length))
    this.turns = most > 0 ? [make(most), make(most)] : []
    for (const unit of units) if (!inTurns(unit)) this.whole.set(unit, make(unit.length))
  }

  /** A unit's buffer, where it shares one: its own while its layer runs. */
  of(unit: Unit): Tensor { return this.inTurns(unit) ? ops.narrow(this.turns[unit.layer % 2], 0, 0, unit.length) : ops.alias(this.whole.get(unit) as Tensor) }

  /**
   * A weight in its unit's buffer. Its version counter is its own: records over it stay valid when the buffer is gathered
   * again, as they are read only after that.
   */
  view(unit: Unit, start: number, shape: readonly number[]): Tensor {
    return keep(scope(() => call('aten::data', '', viewOf(this.of(unit), start - unit.start, shape)) as Tensor))
  }

  zero(): void { for (const tensor of [...this.turns, ...this.whole.values()]) ops.zero_(tensor) }
  free(): void { for (const tensor of [...this.turns, ...this.whole.values()]) tensor.free() }
}
