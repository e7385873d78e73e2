import { Tensor } from 'fettle-native'
import type { Saved } from '../models/blocks/types'

const widths: Partial<Record<string, number>> = { float64: 8, int64: 8, float32: 4, int32: 4, bfloat16: 2, float16: 2 }

/** Counts what blocks keep between a forward and its backward, by their records, which are plain data. What several keep counts once. */
export class KeptRecords {
  /** Bytes now. */
  bytes = 0
  private readonly held = new Map<number, { readonly bytes: number; count: number }>()
  private readonly records = new WeakMap<object, readonly number[]>()

  /** Behind a forward. */
  add(saved: Saved): void {
    if (saved === null || this.records.has(saved)) return
    const addresses: number[] = []
    for (const tensor of tensorsOf(saved)) {
      const address = tensor.dataPointer, held = this.held.get(address)
      addresses.push(address)
      if (held !== undefined) held.count++
      else {
        const bytes = tensor.numel * (widths[tensor.dtype] ?? 1)
        this.held.set(address, { bytes, count: 1 })
        this.bytes += bytes
      }
    }
    this.records.set(saved, addresses)
  }

  /** Behind the backward that it served. */
  remove(saved: Saved): void {
    for (const address of (saved === null ? undefined : this.records.get(saved)) ?? []) {
      const held = this.held.get(address)!
      if (--held.count > 0) continue
      this.held.delete(address)
      this.bytes -= held.bytes
    }
    if (saved !== null) this.records.delete(saved)
  }
}

function* tensorsOf(value: unknown): Generator<Tensor, void, void> {
  if (value instanceof Tensor) yield value
  else if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) yield* tensorsOf(each)
}
