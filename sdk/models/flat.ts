import { keep, ops, scope, type Device, type DType, type Tensor } from 'fettle-native'
import type { Weight } from './blocks/types'

export interface FlatSpec {
  readonly shape: readonly number[]
  readonly decay: boolean
  /** Learns at a rate of its own where an optimizer has two (LoRA+). */
  readonly fast?: boolean
  /** The layer that it belongs to, where that is known. */
  readonly layer?: number
}

/** A range of the buffers whose parameters are of one kind. */
export interface Range { readonly decay: boolean; readonly fast: boolean; readonly start: number; readonly length: number }

/** A stretch of this rank's buffers, and where it begins inside what was asked for. */
export interface Piece { readonly from: number; readonly start: number; readonly length: number }

/**
 * What trains on a rank, in one piece each: fp32 masters and fp32 gradients. Optimizer, clipping, checkpoints and collectives run over
 * whole buffers or ranges of them, never over lists of tensors.
 */
export interface TrainedValues {
  /** Ranks of the sharding axis hold a share each. */
  readonly divided: boolean
  /** fp32 `[size]`: all of them, or where ranks divide the optimizer between them this rank's. */
  readonly master: Tensor
  /** fp32 `[size]`, laid out as `master`. */
  readonly grad: Tensor
  readonly size: number
  /** In the order of the specs. */
  readonly weights: readonly Weight[]
  /** The ranges that an optimizer treats alike. Empty ones are left out. Views: make them inside a scope. */
  groups(byRate: boolean): (Range & { readonly master: Tensor; readonly grad: Tensor })[]
  /** Where a weight begins among all values. */
  startOf(index: number): number
  /** What of `length` values from `start` this rank's buffers hold; `null`: nothing. */
  own(start: number, length: number): Piece | null
  /** Sets the first values of a weight. */
  fill(index: number, write: (master: Tensor) => void): void
  zeroGrad(): void
  /** Brings the compute copies up to the masters: after loading, after each optimizer step. */
  sync(): void
  free(): void
}

/** Values between two parameters' starts are multiples of this: a vector register's width, so that kernels read aligned rows. */
export const alignment = 16

/** Lays parameters out: those with weight decay first, fast ones last in each half, so that each group is one range. */
export function layOut(specs: readonly FlatSpec[], which: readonly number[], offset: number, starts: number[]): Range[] {
  let end = offset
  const place = (decay: boolean, fast: boolean): Range => {
    const start = end
    for (const i of which) {
      if (specs[i].decay !== decay || (specs[i].fast ?? false) !== fast) continue
      starts[i] = end
      end += Math.ceil(elements(specs[i].shape) / alignment) * alignment
    }
    return { decay, fast, start, length: end - start }
  }
  return [true, false].flatMap((decay) => [false, true].map((fast) => place(decay, fast))).filter(({ length }) => length > 0)
}

/** All that trains on this rank: with a copy in the type that the model computes in, where that is not fp32. Parameters are views. */
export class FlatParameters implements TrainedValues {
  readonly divided = false
  readonly master: Tensor
  readonly grad: Tensor
  readonly compute: Tensor | null
  readonly size: number
  readonly weights: readonly Weight[]
  private readonly ranges: readonly Range[]
  private readonly starts: number[]

  constructor(private readonly specs: readonly FlatSpec[], dtype: DType, device: Device) {
    this.starts = new Array<number>(specs.length)
    this.ranges = layOut(specs, specs.map((_, i) => i), 0, this.starts)
    this.size = this.ranges.reduce((sum, { length }) => sum + length, 0)
    this.master = keep(ops.zeros([this.size], { dtype: 'float32', device }))
    this.grad = keep(ops.zeros([this.size], { dtype: 'float32', device }))
    this.compute = dtype === 'float32' ? null : keep(ops.zeros([this.size], { dtype, device }))
    const view = (flat: Tensor, i: number): Tensor => keep(viewOf(flat, this.starts[i], specs[i].shape))
    this.weights = specs.map((_, i) => {
      const master = view(this.master, i)
      return { value: this.compute === null ? master : view(this.compute, i), master, grad: view(this.grad, i) }
    })
  }

  /** @param byRate apart too where parameters are fast or not */
  groups(byRate: boolean): (Range & { readonly master: Tensor; readonly grad: Tensor })[] {
    return (byRate ? this.ranges : this.byDecay()).map((r) => ({ ...r, master: ops.narrow(this.master, 0, r.start, r.length), grad: ops.narrow(this.grad, 0, r.start, r.length) }))
  }

  startOf(index: number): number { return this.starts[index] }
  own(start: number, length: number): Piece { return { from: 0, start, length } }
  fill(index: number, write: (master: Tensor) => void): void { scope(() => write(this.weights[index].master as Tensor)) }

  /** The ranges of a layer's parameters. */
  rangesOf(layer: number): { readonly start: number; readonly length: number }[] {
    const own = this.specs.flatMap((spec, i) => (spec.layer === layer ? [{ start: this.starts[i], length: Math.ceil(elements(spec.shape) / alignment) * alignment }] : []))
    own.sort((a, b) => a.start - b.start)
    return own.reduce<{ start: number; length: number }[]>((joined, next) => {
      const last = joined[joined.length - 1]
      if (last !== undefined && last.start + last.length === next.start) last.length += next.length
      else joined.push({ ...next })
      return joined
    }, [])
  }

  private byDecay(): Range[] {
    return [true, false].map((decay) => this.ranges.filter((range) => range.decay === decay)).filter((same) => same.length > 0)
      .map((same) => ({ ...same[0], length: same.reduce((sum, { length }) => sum + length, 0) }))
  }

  zeroGrad(): void { ops.zero_(this.grad) }
  sync(): void { if (this.compute !== null) ops.copy_(this.compute, this.master) }

  free(): void {
    for (const { value, master, grad } of this.weights) { value.free(); master?.free(); grad?.free() }
    for (const flat of [this.master, this.grad, this.compute]) flat?.free()
  }
}

/** A stretch of a flat buffer in a shape: a view. */
export function viewOf(flat: Tensor, start: number, shape: readonly number[]): Tensor {
  return scope(() => ops.view(ops.narrow(flat, 0, start, elements(shape)), shape))
}

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number { return shape.reduce((a, b) => a * b, 1) }
