import { keep, ops, scope, tensor, type Device, type DType, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Architecture } from './architecture'
import type { PrefixWeights } from './blocks/types'
import { inType, onDevice } from './device'

/**
 * Keys and values of past tokens: for each layer two tensors `[rows, capacity, kvHeads, headDim]`. Rows may have any
 * lengths up to the capacity; what lies past a row's length is masked, and zero, since a masked NaN would still spread.
 * A trained prefix stands in front of each row, beside the capacity.
 */
export class KeyValueCache {
  /** Columns that a prefix takes: a row's token t is in column front + t. */
  readonly front: number
  private length: number
  private layers: { keys: Tensor; values: Tensor }[]
  private count: number

  constructor(architecture: Pick<Architecture, 'layers' | 'kvHeads' | 'headDim'>, rows: number, capacity: number, private readonly dtype: DType, private readonly device: Device, prefix: PrefixWeights | null = null) {
    this.front = prefix?.tokens ?? 0
    this.length = this.front + capacity
    this.count = rows
    const heads = [architecture.kvHeads, architecture.headDim]
    this.layers = Array.from({ length: architecture.layers }, () => ({ keys: this.empty(heads), values: this.empty(heads) }))
    if (prefix !== null) scope(() => this.fill(prefix))
  }

  get rows(): number { return this.count }

  layer(index: number): { readonly keys: Tensor; readonly values: Tensor } {
    const layer = this.layers[index]
    if (layer === undefined) throw new ModelError('cache.layer', `expected a layer below ${this.layers.length}, got ${index}`, { index })
    return layer
  }

  /** Tokens that a row can hold. */
  get capacity(): number { return this.length - this.front }

  /** Keeps only these rows, in this order: what ended leaves the batch. `used` tokens of each are copied. */
  select(rows: readonly number[], used: number): void {
    this.count = rows.length
    scope(() => {
      const index = onDevice(tensor(rows.map(BigInt)), this.device)
      this.replace(this.front + used, (old) => ops.index_select(old, 0, index))
    })
  }

  /** Makes room for `needed` tokens a row, and `spare` more when it has to grow. `used` tokens of each are copied. */
  reserve(needed: number, used: number, spare: number): void {
    if (needed <= this.capacity) return
    this.length = this.front + needed + Math.max(spare, Math.floor(this.capacity / 2))
    scope(() => this.replace(this.front + used, (old) => old))
  }

  private fill({ past, tokens }: PrefixWeights): void {
    this.layers.forEach(({ keys, values }, layer) => [keys, values].forEach((stored, i) => ops.copy_(ops.narrow(stored, 1, 0, tokens), ops.select(past.value, 1, 2 * layer + i))))
  }

  private replace(used: number, choose: (old: Tensor) => Tensor): void {
    const moved = (old: Tensor): Tensor => {
      const next = this.empty(old.shape.slice(2))
      ops.copy_(ops.narrow(next, 1, 0, used), choose(ops.narrow(old, 1, 0, used)))
      old.free()
      return next
    }
    this.layers = this.layers.map(({ keys, values }) => ({ keys: moved(keys), values: moved(values) }))
  }

  private empty(heads: readonly number[]): Tensor {
    return keep(ops.zeros([this.count, this.length, ...heads], { dtype: this.dtype, device: this.device }))
  }

  free(): void {
    for (const { keys, values } of this.layers) { keys.free(); values.free() }
    this.layers = []
  }
}

/** One call serves a step of one new token for each row: what each row sees, bool `[rows, 1, 1, longest]`. */
export function decodeMask(starts: readonly number[], device: Device): Tensor {
  const longest = Math.max(...starts) + 1
  const seen = new Uint8Array(starts.length * longest)
  starts.forEach((start, i) => seen.fill(1, i * longest, i * longest + start + 1))
  return onDevice(inType(tensor(seen, [starts.length, 1, 1, longest]), 'bool'), device)
}
