import { call, keep, ops, type DType, type Tensor } from 'fettle-native'
import type { BlockContext, BlockId, Place } from './types'

const bytesOf: Partial<Record<DType, number>> = { float32: 4, bfloat16: 2 }
const alignment = 64
/** Rows are planned in steps of so many: a slightly longer batch fits without moving anything. */
const rowStep = 128
const firstSlab = 32 << 20

interface Slab { readonly memory: Tensor; readonly bytes: number; used: number }

/**
 * The memory of fused blocks, laid out once and written again in every step. Each buffer belongs to a layer, a block and
 * a use; all have room for the longest batch so far. A longer one lays them out anew, in one piece; tensors that still
 * show the old memory keep it alive.
 */
export class Workspace {
  private rows = 0
  private planned = 0
  private slabs: Slab[] = []
  private readonly buffers = new Map<string, Tensor>()
  /** Those of `buffers` that `shared` gives. */
  private readonly sharedBuffers: Tensor[] = []
  private context: BlockContext | null = null

  /** Bytes laid out. */
  get bytes(): number { return this.slabs.reduce((sum, slab) => sum + slab.bytes, 0) }

  /** Bytes of them that buffers have taken. */
  get used(): number { return this.slabs.reduce((sum, slab) => sum + slab.used, 0) }

  /** To be called by every block before it takes memory: makes room for the pass. */
  enter(context: BlockContext): void {
    if (context === this.context) return
    this.context = context
    if (context.tokens > this.rows) this.layOut(context.tokens)
  }

  /** Makes room for batches of up to so many tokens, once, before the first of them. */
  reserve(tokens: number): void {
    if (tokens > this.rows) this.layOut(tokens)
  }

  /** `[rows, width]` for what a layer's backward will read. */
  saved(place: Place, context: BlockContext, use: string, rows: number, width: number, dtype: DType): Tensor {
    return this.take(`${this.owner(place, context)}.${use}`, rows, width, dtype)
  }

  /** `[rows, width]` that the next layer but one writes again, whatever the mode. */
  shared(place: Place, use: string, rows: number, width: number, dtype: DType): Tensor {
    return this.take(`shared.${parity(place.layer)}.${place.id}.${use}`, rows, width, dtype, true)
  }

  /** True when the tensor shows memory that `shared` gave, be it through another handle. */
  isShared(x: Tensor): boolean { return call('fettle::overlaps', '', this.sharedBuffers, x) as boolean }

  /** `[rows, width]` for what a backward makes again, one at a time. */
  again(rows: number, width: number, dtype: DType): Tensor { return this.take('again', rows, width, dtype) }

  /** `[rows, width]` for a gradient: two layers share it in turn. */
  gradient(place: Place, rows: number, width: number, dtype: DType): Tensor {
    return this.take(`${parity(place.layer)}.${place.id}.gradient`, rows, width, dtype)
  }

  free(): void {
    for (const buffer of this.buffers.values()) buffer.free()
    for (const { memory } of this.slabs) memory.free()
    this.buffers.clear()
    this.sharedBuffers.length = 0
    this.slabs = []
    this.rows = 0
    this.context = null
  }

  /** A fresh view of the buffer under `key`, made at its first use. */
  private take(key: string, rows: number, width: number, dtype: DType, shared = false): Tensor {
    if (rows > this.rows) this.layOut(rows)
    const name = nameOf(key, width, dtype)
    let buffer = this.buffers.get(name)
    if (buffer === undefined) {
      this.buffers.set(name, (buffer = this.place(width, dtype)))
      if (shared) this.sharedBuffers.push(buffer)
    }
    // All buffers are views of one slab and would share its version counter: writing any of them in place would void the
    // graphs that blocks in the plain form have recorded over others.
    return call('fettle::rows', '', buffer, rows) as Tensor
  }

  /** Every layer has its own buffers when all layers' backwards follow; layers that run one by one share two sets. */
  private owner({ layer, id }: Place, context: BlockContext): string {
    const own = context.mode === 'train' ? !context.again : context.mode === 'boundary' && lastOfLayer(id)
    return own ? `${context.slot ?? 0}:${layer}.${id}` : `${context.mode}.${parity(layer)}.${id}`
  }

  private layOut(rows: number): void {
    const before = this.rows, needed = this.planned, { context } = this
    this.free()
    this.context = context
    this.rows = Math.ceil(rows / rowStep) * rowStep
    this.planned = 0
    if (before > 0 && needed > 0) this.addSlab(Math.ceil((needed / before) * this.rows) + (1 << 16))
  }

  private addSlab(bytes: number): Slab {
    const slab = { memory: keep(call('fettle::pages', '', bytes) as Tensor), bytes, used: 0 }
    this.slabs.push(slab)
    return slab
  }

  private place(width: number, dtype: DType): Tensor {
    const bytes = this.rows * width * (bytesOf[dtype] as number), padded = Math.ceil(bytes / alignment) * alignment
    this.planned += padded
    const last = this.slabs[this.slabs.length - 1]
    const slab = last !== undefined && last.used + padded <= last.bytes ? last : this.addSlab(Math.max(padded, firstSlab))
    const piece = ops.narrow(slab.memory, 0, slab.used, bytes), typed = ops.view_dtype(piece, dtype)
    slab.used += padded
    const buffer = keep(ops.view(typed, [this.rows, width]))
    piece.free()
    typed.free()
    return buffer
  }
}

function nameOf(key: string, width: number, dtype: DType): string { return `${key}.${width}.${dtype}` }
function parity(layer: number): number { return layer < 0 ? layer : layer & 1 }
/** The block whose output a layer hands on. */
function lastOfLayer(id: BlockId): boolean { return id === 'down' }
