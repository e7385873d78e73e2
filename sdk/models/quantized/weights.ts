import { call, keep, ops, scope, type Device, type DType, type Tensor } from 'fettle-native'
import type { Weight } from '../blocks/types'
import { elements, viewOf } from '../flat'
import type { StoredWeight } from '../layout'
import type { LayerHooks } from '../parameters'
import { bytesOf, dequantize, freeQuantized, quantize, type Quantization, type Quantized } from './codes'

/**
 * Frozen weights of which the matrices of the layers are kept in few bits (QLoRA, arXiv 2305.14314). A layer's are made
 * whole before it runs, forward and backward, in one of two buffers that all layers take in turns; embeddings, head and norms stay
 * as they compute.
 */
export class QuantizedWeights implements LayerHooks {
  readonly frozen = true
  readonly weights: readonly Weight[]
  private readonly whole: readonly Tensor[]
  private readonly quantized = new Map<number, Quantized>()
  private readonly buffers: readonly Tensor[]
  private readonly inBuffer: (number | null)[] = [null, null]

  /** @param layers of the whole model */
  constructor(private readonly specs: readonly StoredWeight[], private readonly layers: number, dtype: DType, device: Device, private readonly how: Quantization) {
    const starts = this.specs.map((spec, i) => this.specs.slice(0, i).reduce((sum, other) => (this.isMatrix(other) && other.layer === spec.layer ? sum + elements(other.shape) : sum), 0))
    const most = specs.reduce((largest, spec, i) => (this.isMatrix(spec) ? Math.max(largest, starts[i] + elements(spec.shape)) : largest), 0)
    this.buffers = [0, 1].map(() => keep(ops.zeros([most], { dtype, device })))
    this.whole = specs.map((spec, i) => keep(this.isMatrix(spec) ? viewOf(this.buffers[spec.layer % 2], starts[i], spec.shape) : ops.zeros(spec.shape, { dtype, device })))
    // With version counters of their own: records over them stay valid when a buffer is written again, as they are read only after that.
    this.weights = this.whole.map((whole): Weight => ({ value: keep(call('aten::data', '', whole) as Tensor), master: null, grad: null }))
  }

  fill(index: number, write: (whole: Tensor) => void): void {
    const spec = this.specs[index], value = this.whole[index]
    if (!this.isMatrix(spec)) return write(value)
    this.quantized.set(index, keepAll(scope(() => {
      const whole = ops.empty(spec.shape, { dtype: 'float32', device: value.device })
      write(whole)
      return quantize(whole, this.how)
    })))
  }

  sync(): void { this.inBuffer.fill(null) }

  enter(layer: number): void {
    if (layer < 0 || layer >= this.layers || this.inBuffer[layer % 2] === layer) return
    this.inBuffer[layer % 2] = layer
    this.specs.forEach((spec, i) => { if (spec.layer === layer && this.isMatrix(spec)) dequantize(this.quantized.get(i)!, this.whole[i]) })
  }

  done(): void { /* frozen: no gradient */ }

  /** Bytes of the matrices in few bits. */
  get bytes(): number { return [...this.quantized.values()].reduce((sum, each) => sum + bytesOf(each), 0) }

  free(): void {
    for (const each of this.quantized.values()) freeQuantized(each)
    for (const each of [...this.weights.map(({ value }) => value), ...this.whole, ...this.buffers]) each.free()
  }

  private isMatrix({ layer, shape }: StoredWeight): boolean { return layer >= 0 && layer < this.layers && shape.length === 2 }
}

function keepAll(made: Quantized): Quantized {
  keep(made.codes)
  for (const each of Object.values(made.scales)) if (typeof each === 'object') keep(each)
  return made
}
