import { keep, ops, scope, type Device, type DType, type Tensor } from 'fettle-native'
import type { Weight } from './blocks/types'

export interface FlatSpec {
  readonly shape: readonly number[]
  readonly decay: boolean
  /** Learns at a rate of its own where an optimizer has two (LoRA+). */
  readonly fast?: boolean
}

/** A range of the buffers whose parameters are of one kind. */
interface Range { readonly decay: boolean; readonly fast: boolean; readonly start: number; readonly length: number }

/** Values between two parameters' starts are multiples of this: a vector register's width, so that kernels read aligned rows. */
const alignment = 16

/**
 * What trains, in one piece: an fp32 master, an fp32 gradient and, when the model computes in another type, a copy in
 * that type. Parameters are views. Those with weight decay come first, fast ones last in each half, so that each group is one contiguous range:
 * clipping, the optimizer, checkpoints and collectives run over whole buffers, never over lists of tensors.
 */
export class FlatParameters {
  readonly master: Tensor
  readonly grad: Tensor
  readonly compute: Tensor | null
  readonly size: number
  private readonly ranges: readonly Range[]
  /** In the order of the specs. */
  readonly weights: readonly Weight[]

  constructor(specs: readonly FlatSpec[], dtype: DType, device: Device) {
    const starts: number[] = new Array<number>(specs.length)
    let offset = 0
    const place = (decay: boolean, fast: boolean): Range => {
      const start = offset
      specs.forEach((spec, i) => {
        if (spec.decay !== decay || (spec.fast ?? false) !== fast) return
        starts[i] = offset
        offset += Math.ceil(elements(spec.shape) / alignment) * alignment
      })
      return { decay, fast, start, length: offset - start }
    }
    this.ranges = [true, false].flatMap((decay) => [false, true].map((fast) => place(decay, fast))).filter((range) => range.length > 0)
    this.size = offset
    this.master = keep(ops.zeros([offset], { dtype: 'float32', device }))
    this.grad = keep(ops.zeros([offset], { dtype: 'float32', device }))
    this.compute = dtype === 'float32' ? null : keep(ops.zeros([offset], { dtype, device }))
    const view = (flat: Tensor, i: number): Tensor => keep(scope(() => ops.view(ops.narrow(flat, 0, starts[i], elements(specs[i].shape)), specs[i].shape)))
    this.weights = specs.map((_, i) => {
      const master = view(this.master, i)
      return { value: this.compute === null ? master : view(this.compute, i), master, grad: view(this.grad, i) }
    })
  }

  /**
   * The ranges that an optimizer treats alike. Empty ones are left out. Views: make them inside a scope.
   * @param byRate apart too where parameters are fast or not
   */
  groups(byRate: boolean): (Range & { readonly master: Tensor; readonly grad: Tensor })[] {
    return (byRate ? this.ranges : this.byDecay()).map((r) => ({ ...r, master: ops.narrow(this.master, 0, r.start, r.length), grad: ops.narrow(this.grad, 0, r.start, r.length) }))
  }

  private byDecay(): Range[] {
    return [true, false].map((decay) => this.ranges.filter((range) => range.decay === decay)).filter((same) => same.length > 0)
      .map((same) => ({ ...same[0], length: same.reduce((sum, { length }) => sum + length, 0) }))
  }

  zeroGrad(): void { ops.zero_(this.grad) }

  /** Brings the compute copies up to the masters: after loading, after each optimizer step. */
  sync(): void { if (this.compute !== null) ops.copy_(this.compute, this.master) }

  free(): void {
    for (const { value, master, grad } of this.weights) { value.free(); master?.free(); grad?.free() }
    for (const flat of [this.master, this.grad, this.compute]) flat?.free()
  }
}

function elements(shape: readonly number[]): number { return shape.reduce((a, b) => a * b, 1) }
