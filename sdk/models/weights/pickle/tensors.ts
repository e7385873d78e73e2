import { closeSync, openSync, readSync } from 'node:fs'
import type { DType, MappedFile, Tensor } from 'fettle-native'
import { native } from '../native'
import { broken } from './bytes'
import { sizeOf } from './names'
import { NumpyArray, Span, TensorView, TextSpan } from './values'

/** A tensor of a pickled file, not read yet. */
export interface PickledTensor {
  readonly shape: readonly number[]
  readonly dtype: DType
  /** The tensor; it shares the mapped file where its values lie in order there. */
  read(file: () => MappedFile): Tensor
}

/** A tensor whose storage lies at byte `begin` of the file. @throws ModelError `model.pickle` when the view leaves its storage */
export function viewTensor(path: string, name: string, { storage, dtype, offset, shape, strides }: TensorView, begin: number, bytes: number): PickledTensor {
  const size = sizeOf(dtype), last = offset + shape.reduce((sum, length, i) => sum + (length - 1) * strides[i], 0)
  const empty = shape.includes(0)
  const room = Math.min(bytes, storage.elements * sizeOf(storage.dtype ?? 'uint8'))
  if (!empty && (last + 1) * size > room) {
    throw broken(path, `tensor "${name}" reaches to value ${last} of a storage with ${Math.floor(room / size)}`, { tensor: name, shape, strides, offset })
  }
  return placed(shape, dtype, begin + offset * size, strides, last - offset + 1)
}

/** An array of numpy. @throws ModelError `model.pickle` when it has fewer bytes than its shape asks for */
export function arrayTensor(path: string, name: string, { type, shape, columnsFirst, data }: NumpyArray): PickledTensor {
  if (type === null) throw broken(path, `array "${name}" has no type`, { tensor: name })
  const count = shape.reduce((a, b) => a * b, 1), bytes = count * type.bytes
  if (!(data instanceof TextSpan) && data.length !== bytes) throw broken(path, `array "${name}" has ${data.length} bytes, its shape [${shape.join(', ')}] asks for ${bytes}`, { tensor: name, shape })
  const strides = columnsFirst ? inColumns(shape) : inRows(shape)
  if (data instanceof Span) return placed(shape, type.dtype, data.begin, strides, count)
  const content = (): Uint8Array => (data instanceof TextSpan ? latin1(path, name, data, bytes) : data)
  return { shape, dtype: type.dtype, read: () => ordered(native().fromBytes(content(), [count], type.dtype), shape, strides) }
}

function placed(shape: readonly number[], dtype: DType, begin: number, strides: readonly number[], reach: number): PickledTensor {
  if (shape.includes(0)) return { shape, dtype, read: () => native().fromBytes(new Uint8Array(0), shape, dtype) }
  const rows = inRows(shape), inOrder = shape.every((length, i) => length === 1 || strides[i] === rows[i])
  return { shape, dtype, read: (file) => (inOrder ? file().tensor(begin, shape, dtype) : ordered(file().tensor(begin, [reach], dtype), shape, strides)) }
}

/** Values by shape and strides, laid in order. Frees `flat`. */
function ordered(flat: Tensor, shape: readonly number[], strides: readonly number[]): Tensor {
  const { ops, scope } = native()
  const made = scope(() => ops.clone(ops.as_strided(flat, shape, strides), { memoryFormat: 'contiguous' }))
  flat.free()
  return made
}

function inRows(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1)
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1] * shape[i + 1]
  return strides
}
function inColumns(shape: readonly number[]): number[] { return inRows([...shape].reverse()).reverse() }

/** Bytes that a text of the file spells, one character each: characters above 127 take two bytes there. */
function latin1(path: string, name: string, { begin, length }: TextSpan, bytes: number): Uint8Array {
  const out = Buffer.alloc(bytes), fd = openSync(path, 'r'), piece = Buffer.alloc(1 << 20)
  let at = 0, high = -1
  try {
    for (let done = 0; done < length;) {
      const got = readSync(fd, piece, 0, Math.min(piece.length, length - done), begin + done)
      if (got === 0) break
      for (let i = 0; i < got; i++) {
        const byte = piece[i]
        if (high >= 0) { out[at++] = ((high & 3) << 6) | (byte & 0x3f); high = -1 }
        else if (byte < 0x80) out[at++] = byte
        else high = byte
      }
      done += got
    }
  } finally {
    closeSync(fd)
  }
  if (at !== bytes) throw broken(path, `array "${name}" has ${at} bytes, its shape asks for ${bytes}`, { tensor: name })
  return out
}

