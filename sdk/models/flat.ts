import { keep, ops, scope, type Device, type DType, type Tensor } from 'fettle-native'
import type { Weight } from './blocks/types'

export interface FlatSpec { readonly shape: readonly number[]; readonly decay: boolean }

/** Values between two parameters' starts are multiples of this: a vector register's width, so that kernels read aligned rows. */
const alignment = 16

/**
 * What trains, in one piece: an fp32 master, an fp32 gradient and, when the model computes in another type, a copy in
 * that type. Parameters are views. Those with weight decay come first, so that each group is one contiguous range:
 * clipping, the optimizer, checkpoints and collectives run over whole buffers, never over lists of tensors.
 */
export class FlatParameters {
  readonly master: Tensor
  readonly grad: Tensor
  readonly compute: Tensor | null
  readonly size: number
  /** Values before this index decay. */
  readonly decayLength: number
  /** In the order of the specs. */
  readonly weights: readonly Weight[]

  constructor(specs: readonly FlatSpec[], dtype: DType, device: Device) {
    const starts: number[] = new Array<number>(specs.length)
    let offset = 0
    const place = (decay: boolean): void => specs.forEach((spec, i) => {
      if (spec.decay !== decay) return
      starts[i] = offset
      offset += Math.ceil(elements(spec.shape) / alignment) * alignment
    })
    place(true)
    this.decayLength = offset
    place(false)
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

  /** The ranges that an optimizer treats alike. Empty ones are left out. Views: make them inside a scope. */
  groups(): { readonly decay: boolean; readonly start: number; readonly length: number; readonly master: Tensor; readonly grad: Tensor }[] {
    const ranges = [{ decay: true, start: 0, length: this.decayLength }, { decay: false, start: this.decayLength, length: this.size - this.decayLength }]
    return ranges.filter((r) => r.length > 0).map((r) => ({ ...r, master: ops.narrow(this.master, 0, r.start, r.length), grad: ops.narrow(this.grad, 0, r.start, r.length) }))
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
