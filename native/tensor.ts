import type { Handle } from './engine'
import { native } from './library'
import { NativeError } from './errors'
import { track } from './scope'
import type { Device, DType, TypedArray } from './types'

/**
 * A tensor of libtorch. The numbers live on the C++ side; this object holds an integer handle. Tensors made inside
 * `scope()` are freed at its end; others live until `free()`.
 */
export class Tensor {
  /** The C++ side's number for this tensor; 0 once freed. */
  handle: Handle
  private sizes: readonly number[] | undefined
  private type: DType | undefined
  private place: Device | undefined

  /** Made by operators and by `tensor()`, `fromBytes()` and `mapFile()`; not by hand. */
  constructor(handle: Handle) {
    this.handle = handle
    this.sizes = undefined
    this.type = undefined
    this.place = undefined
    track(this)
  }

  /** False once freed. */
  get alive(): boolean {
    return this.handle !== 0
  }
  /** Sizes, outermost first; read once and remembered. */
  get shape(): number[] {
    return (this.sizes ??= native().shape(this.handle)) as number[]
  }
  /** Number type, such as `float32`. */
  get dtype(): DType {
    return (this.type ??= native().dtype(this.handle))
  }
  /** `cpu`, `cuda:0`, … */
  get device(): Device {
    return (this.place ??= native().device(this.handle))
  }
  /** Number of elements. */
  get numel(): number {
    let count = 1
    for (const size of this.shape) count *= size
    return count
  }
  /** Elements to skip per step of each dimension. */
  get strides(): number[] {
    return native().strides(this.handle)
  }
  /** True when the elements lie in row-major order without gaps. */
  get isContiguous(): boolean {
    return native().contiguous(this.handle)
  }
  /** True when `backward` shall reach it; may be set on leaves of a floating dtype. */
  get requiresGrad(): boolean {
    return native().requiresGrad(this.handle)
  }
  set requiresGrad(on: boolean) {
    native().setRequiresGrad(this.handle, on)
  }
  /** The gradient that `backward` accumulated; a new handle on each reading. */
  get grad(): Tensor | undefined {
    const handle = native().grad(this.handle)
    return handle === 0 ? undefined : new Tensor(handle)
  }
  set grad(gradient: Tensor | undefined) {
    native().setGrad(this.handle, gradient?.handle ?? 0)
  }

  /** The only element, as a number. */
  item(): number {
    return native().item(this.handle)
  }
  /** A float32 copy in row-major order, whatever the dtype and device. */
  toFloat32Array(): Float32Array {
    return new Float32Array(native().toBytes(this.handle, 'float32'))
  }
  /** A flat copy in row-major order; int64 beyond 2^53 loses digits, booleans are 0 and 1. */
  toArray(): number[] {
    return Array.from(new Float64Array(native().toBytes(this.handle, 'float64')))
  }
  /** An exact int64 copy in row-major order. */
  toBigInt64Array(): BigInt64Array {
    return new BigInt64Array(native().toBytes(this.handle, 'int64'))
  }
  /** Contiguous little-endian bytes of the numbers as they are. */
  toBytes(): Uint8Array {
    return new Uint8Array(native().toBytes(this.handle))
  }
  /** Writes the same bytes into an open file; a contiguous tensor on the CPU is copied nowhere for it. Throws with the system's code, such as `ENOSPC`. */
  writeBytes(fd: number): void {
    native().writeBytes(this.handle, fd)
  }
  /** Overwrites a contiguous CPU tensor with raw numbers of its dtype. */
  setBytes(bytes: TypedArray): void {
    native().copyBytes(this.handle, bytes)
  }
  /** Address of the first element, for tests and kernels that check aliasing. */
  get dataPointer(): number {
    return native().address(this.handle)
  }
  /** Another object for the same numbers, tracked by the current scope. */
  alias(): Tensor {
    return new Tensor(native().alias(this.handle))
  }
  /** Gives the memory back now. Safe to call twice. */
  free(): void {
    const handle = this.handle
    if (handle === 0) return
    this.handle = 0
    native().free(handle)
  }

  /** Forgets the cached shape, dtype and device after an operator changed the tensor in place. */
  changed(): void {
    this.sizes = undefined
    this.type = undefined
    this.place = undefined
  }

  toString(): string {
    return this.alive ? `Tensor(${this.dtype} [${this.shape.join(', ')}] ${this.device})` : 'Tensor(freed)'
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}

function inferred(data: TypedArray): DType {
  if (data instanceof Float32Array) return 'float32'
  if (data instanceof Float64Array) return 'float64'
  if (data instanceof BigInt64Array) return 'int64'
  if (data instanceof Int32Array) return 'int32'
  if (data instanceof Int16Array) return 'int16'
  if (data instanceof Int8Array) return 'int8'
  if (data instanceof Uint8Array) return 'uint8'
  throw new NativeError('native.argument', `expected a dtype ('bfloat16' or 'float16') for the raw 16-bit patterns of a ${data.constructor.name}`)
}

/** Numbers in the array form whose bytes libtorch can take over, and the dtype of those bytes. */
function packed(data: TypedArray | readonly number[] | readonly bigint[] | readonly boolean[], dtype?: DType): [TypedArray, DType] {
  if (data instanceof Uint16Array && (dtype === 'bfloat16' || dtype === 'float16')) return [data, dtype]
  if (ArrayBuffer.isView(data)) return [data as TypedArray, inferred(data as TypedArray)]
  const first = (data as readonly unknown[])[0]
  if (typeof first === 'bigint') return [BigInt64Array.from(data as readonly bigint[]), 'int64']
  if (typeof first === 'boolean') return [Uint8Array.from(data as readonly boolean[], Number), 'bool']
  if (dtype === undefined || dtype === 'float32') return [Float32Array.from(data as readonly number[]), 'float32']
  return [Float64Array.from(data as readonly number[]), 'float64']
}

/**
 * A new CPU tensor. The dtype follows the array (numbers: float32, bigints: int64, booleans: bool) unless one is
 * named; the shape is one-dimensional unless one is given. A Uint16Array holds raw bfloat16 or float16 patterns.
 */
export function tensor(data: TypedArray | readonly number[] | readonly bigint[] | readonly boolean[], shape?: readonly number[], dtype?: DType): Tensor {
  const [array, from] = packed(data, dtype)
  const sizes = shape ?? [data.length]
  const handle = native().fromBytes(array, sizes, from)
  if (dtype === undefined || dtype === from) return new Tensor(handle)
  try {
    return new Tensor(native().fromBytes(new Uint8Array(native().toBytes(handle, dtype)), sizes, dtype))
  } finally {
    native().free(handle)
  }
}

/** A new CPU tensor from contiguous little-endian bytes. */
export function fromBytes(bytes: TypedArray, shape: readonly number[], dtype: DType): Tensor {
  return new Tensor(native().fromBytes(bytes, shape, dtype))
}
