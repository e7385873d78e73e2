import { keep, ops, scope, tensor, type Device, type DType, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Architecture } from './architecture'
import { onDevice } from './device'

/**
 * Keys and values of past tokens: for each layer two tensors `[rows, capacity, kvHeads, headDim]`. Rows may have any
 * lengths up to the capacity; what lies past a row's length is never read.
 */
export class KeyValueCache {
  readonly capacity: number
  private layers: { keys: Tensor; values: Tensor }[]
  private count: number

  constructor(architecture: Architecture, rows: number, capacity: number, dtype: DType, device: Device) {
    this.capacity = capacity
    this.count = rows
    const shape = [rows, capacity, architecture.kvHeads, architecture.headDim]
    this.layers = Array.from({ length: architecture.layers }, () => ({
      keys: keep(ops.empty(shape, { dtype, device })), values: keep(ops.empty(shape, { dtype, device })),
    }))
  }

  get rows(): number { return this.count }

  layer(index: number): { readonly keys: Tensor; readonly values: Tensor } {
    const layer = this.layers[index]
    if (layer === undefined) throw new ModelError('cache.layer', `expected a layer below ${this.layers.length}, got ${index}`, { index })
    return layer
  }

  /** Keeps only these rows, in this order: what ended leaves the batch. `longest` tokens of each are copied. */
  select(rows: readonly number[], longest: number, device: Device): void {
    scope(() => {
      const index = onDevice(tensor(rows.map(BigInt)), device)
      const chosen = (old: Tensor): Tensor => {
        const next = keep(ops.empty([rows.length, ...old.shape.slice(1)], { dtype: old.dtype, device }))
        ops.copy_(ops.narrow(next, 1, 0, longest), ops.index_select(ops.narrow(old, 1, 0, longest), 0, index))
        old.free()
        return next
      }
      this.layers = this.layers.map(({ keys, values }) => ({ keys: chosen(keys), values: chosen(values) }))
    })
    this.count = rows.length
  }

  free(): void {
    for (const { keys, values } of this.layers) { keys.free(); values.free() }
    this.layers = []
  }
}
