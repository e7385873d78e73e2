import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { ModelError } from '../../errors'
import { ggmlTypeName, ggmlTypes, type GgmlType } from './gguf-types'

export type GgufValue = number | bigint | boolean | string | GgufValue[]

/** One tensor of a GGUF file: its shape outermost first (as PyTorch counts, the reverse of the file), `begin` from the start of the file. */
export interface GgufTensor {
  readonly name: string
  readonly type: GgmlType
  readonly shape: readonly number[]
  readonly begin: number
  readonly bytes: number
}

export interface GgufFile {
  readonly path: string
  readonly version: number
  readonly metadata: ReadonlyMap<string, GgufValue>
  readonly tensors: ReadonlyMap<string, GgufTensor>
}

const again = 'download or copy the file again'

/**
 * Reads metadata and tensor table of a GGUF file of version 2 or 3 (little-endian), and checks that the tensors lie
 * inside the file and apart from each other. Numbers above 2^53 come as bigint.
 * Format: the GGUF specification in the ggml repository, docs/gguf.md.
 * @throws ModelError `model.gguf`, with the file and what was seen
 */
export function readGguf(path: string): GgufFile {
  const reader = new Reader(path)
  try {
    const version = checkStart(reader)
    const tensorCount = reader.count('tensor count', 24)
    const metadataCount = reader.count('metadata count', 13)
    const metadata = new Map<string, GgufValue>()
    for (let i = 0; i < metadataCount; i++) {
      const key = reader.string('a metadata key')
      if (metadata.has(key)) throw reader.broken(`has metadata key ${key} twice`, again)
      metadata.set(key, reader.value(reader.u32(), key))
    }
    const table = Array.from({ length: tensorCount }, () => readTensorEntry(reader))
    return { path, version, metadata, tensors: placeTensors(reader, table, alignmentOf(reader, metadata)) }
  } finally {
    reader.close()
  }
}

type Entry = Omit<GgufTensor, 'begin'> & { offset: number }

function checkStart(reader: Reader): number {
  const magic = reader.bytes(4, 'the file mark').toString('latin1')
  if (magic !== 'GGUF') {
    const lfs = magic === 'vers'
    throw reader.broken(lfs ? 'is a Git LFS pointer, not the weights' : `starts with ${JSON.stringify(magic)}, not with GGUF`,
      lfs ? 'run `git lfs pull` in its folder' : 'give a file in GGUF format')
  }
  const version = reader.u32()
  if (version === 2 || version === 3) return version
  const bigEndian = version >= 1 << 24
  throw reader.broken(bigEndian ? 'is a big-endian GGUF file' : `has GGUF version ${version}, Fettle reads 2 and 3`,
    bigEndian ? 'convert it with gguf_convert_endian.py of llama.cpp' : 'convert the model anew with a current llama.cpp')
}

function alignmentOf(reader: Reader, metadata: Map<string, GgufValue>): number {
  const alignment = metadata.get('general.alignment') ?? 32
  if (typeof alignment !== 'number' || alignment < 1 || alignment % 8 !== 0) {
    throw reader.broken(`has general.alignment ${alignment}, expected a multiple of 8`, again)
  }
  return alignment
}

function readTensorEntry(reader: Reader): Entry {
  const name = reader.string('a tensor name')
  const dimensions = reader.u32()
  if (dimensions > 4) throw reader.broken(`tensor "${name}" has ${dimensions} dimensions, at most 4 are possible`, again)
  const shape = Array.from({ length: dimensions }, () => reader.count(`the shape of "${name}"`, 0)).reverse()
  const code = reader.u32()
  const type = ggmlTypes.get(code)
  if (!type) {
    const known = [...ggmlTypes.values()].map(t => t.name).join(', ')
    throw reader.broken(`tensor "${name}" is quantised as ${ggmlTypeName(code)}`, `use a file with ${known}`, { tensor: name, type: code })
  }
  const numel = shape.reduce((a, b) => a * b, 1)
  const row = shape.length ? shape[shape.length - 1] : 1
  if (row % type.block !== 0) {
    throw reader.broken(`tensor "${name}" has rows of ${row} weights, not a multiple of ${type.name}'s block of ${type.block}`, again, { tensor: name, shape })
  }
  return { name, type, shape, bytes: numel / type.block * type.bytes, offset: reader.count(`the offset of "${name}"`, 0) }
}

function placeTensors(reader: Reader, table: Entry[], alignment: number): Map<string, GgufTensor> {
  const dataStart = Math.ceil(reader.at / alignment) * alignment
  const tensors = new Map<string, GgufTensor>()
  let taken = 0
  for (const { offset, ...entry } of [...table].sort((a, b) => a.offset - b.offset)) {
    const begin = dataStart + offset
    const seen = { tensor: entry.name, begin, bytes: entry.bytes, fileBytes: reader.fileBytes }
    if (tensors.has(entry.name)) throw reader.broken(`names tensor "${entry.name}" twice`, again, seen)
    if (offset % alignment !== 0) throw reader.broken(`tensor "${entry.name}" has offset ${offset}, not a multiple of ${alignment}`, again, seen)
    if (offset < taken) throw reader.broken(`tensor "${entry.name}" overlaps the one before it`, again, seen)
    if (begin + entry.bytes > reader.fileBytes) {
      throw reader.broken(`is cut off: tensor "${entry.name}" ends at byte ${begin + entry.bytes}, the file has ${reader.fileBytes}`, again, seen)
    }
    taken = offset + entry.bytes
    tensors.set(entry.name, { ...entry, begin })
  }
  // In the order of the file's table, which is the order of the layers.
  return new Map(table.map(({ name }) => [name, tensors.get(name)!]))
}

/** Bytes that each scalar metadata type takes, by its number (docs/gguf.md, `gguf_metadata_value_type`). */
const scalarBytes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]
const STRING = 8
const ARRAY = 9

/** Reads forward through a file, a large piece at a time. */
class Reader {
  readonly fileBytes: number
  private readonly fd: number
  private buffer = Buffer.alloc(0)
  private bufferStart = 0
  private position = 0

  constructor(readonly path: string) {
    try {
      this.fd = openSync(path, 'r')
    } catch (cause) {
      throw new ModelError('model.gguf', `${path}: cannot be opened (${(cause as NodeJS.ErrnoException).code}); check that the file exists and may be read`, { path }, { cause })
    }
    this.fileBytes = fstatSync(this.fd).size
  }

  get at(): number { return this.position }

  close(): void { closeSync(this.fd) }

  broken(seen: string, remedy: string, details: Record<string, unknown> = {}): ModelError {
    return new ModelError('model.gguf', `${this.path}: ${seen}; ${remedy}`, { path: this.path, ...details })
  }

  bytes(length: number, what: string): Buffer {
    const offset = this.need(length, what)
    return this.buffer.subarray(offset, offset + length)
  }

  u32(): number {
    const offset = this.need(4, 'a number')
    return this.buffer.readUInt32LE(offset)
  }

  /** A 64-bit count, refused when that many items of `itemBytes` cannot be in the file. */
  count(what: string, itemBytes: number): number {
    const offset = this.need(8, what)
    const value = Number(this.buffer.readBigUInt64LE(offset))
    if (!Number.isSafeInteger(value) || value * itemBytes > this.fileBytes - this.position) {
      throw this.broken(`gives ${value} as ${what}, more than the file can hold`, again, { value })
    }
    return value
  }

  string(what: string): string {
    const length = this.count(`the length of ${what}`, 1)
    const offset = this.need(length, what)
    return this.buffer.toString('utf8', offset, offset + length)
  }

  value(type: number, key: string): GgufValue {
    if (type === STRING) return this.string(key)
    if (type === ARRAY) return this.array(key)
    const size = scalarBytes[type]
    if (!size) throw this.broken(`metadata key ${key} has type ${type}, which GGUF does not define`, again, { key, type })
    return this.scalar(type, this.need(size, key), key)
  }

  private array(key: string): GgufValue[] {
    const type = this.u32()
    const length = this.count(`the length of ${key}`, type === STRING ? 8 : type === ARRAY ? 12 : scalarBytes[type] || 1)
    const out = new Array<GgufValue>(length)
    for (let i = 0; i < length; i++) out[i] = this.value(type, key)
    return out
  }

  private scalar(type: number, o: number, key: string): GgufValue {
    const b = this.buffer
    switch (type) {
      case 0: return b.readUInt8(o)
      case 1: return b.readInt8(o)
      case 2: return b.readUInt16LE(o)
      case 3: return b.readInt16LE(o)
      case 4: return b.readUInt32LE(o)
      case 5: return b.readInt32LE(o)
      case 6: return b.readFloatLE(o)
      case 7: return b.readUInt8(o) !== 0
      case 10: return small(b.readBigUInt64LE(o))
      case 11: return small(b.readBigInt64LE(o))
      case 12: return b.readDoubleLE(o)
      default: throw this.broken(`metadata key ${key} has type ${type}, which GGUF does not define`, again, { key, type })
    }
  }

  /** Makes the next `length` bytes available, moves past them, and returns where in the buffer they start. */
  private need(length: number, what: string): number {
    if (this.position + length > this.fileBytes) {
      throw this.broken(`is cut off at byte ${this.fileBytes}, inside ${what}`, again, { fileBytes: this.fileBytes })
    }
    if (this.position + length > this.bufferStart + this.buffer.length) this.refill(length)
    const offset = this.position - this.bufferStart
    this.position += length
    return offset
  }

  private refill(length: number): void {
    const size = Math.min(Math.max(length, 1 << 20), this.fileBytes - this.position)
    const next = Buffer.allocUnsafe(size)
    for (let at = 0; at < size;) {
      const got = readSync(this.fd, next, at, size - at, this.position + at)
      if (got === 0) throw this.broken(`ended at byte ${this.position + at} while it was read`, again)
      at += got
    }
    this.buffer = next
    this.bufferStart = this.position
  }
}

function small(value: bigint): number | bigint {
  const n = Number(value)
  return Number.isSafeInteger(n) ? n : value
}
