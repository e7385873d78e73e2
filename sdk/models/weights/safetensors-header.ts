import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import type { DType } from 'fettle-native'
import { ModelError } from '../../errors'
import { jsonKeys } from './json-keys'

/** One tensor of a safetensors file; `begin` and `end` are byte offsets from the start of the file. */
export interface SafetensorsEntry {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly begin: number
  readonly end: number
}

export interface SafetensorsHeader {
  readonly path: string
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>
  /** Byte offset of the first tensor. */
  readonly dataStart: number
}

/** Names of number types in the format, ordered as the format's own library orders tensors in a file: last first. */
export const safetensorsDtypes: readonly (readonly [string, DType, number])[] = [
  ['BOOL', 'bool', 1], ['U8', 'uint8', 1], ['I8', 'int8', 1], ['I16', 'int16', 2], ['F16', 'float16', 2], ['BF16', 'bfloat16', 2],
  ['I32', 'int32', 4], ['F32', 'float32', 4], ['F64', 'float64', 8], ['I64', 'int64', 8],
]
const byCode = new Map(safetensorsDtypes.map(([code, dtype, size]) => [code, { dtype, size }]))

/** The format's own limit; a larger number in front of a file means that it is something else. */
const maxHeaderBytes = 100_000_000

/**
 * Reads the header of a safetensors file and checks that it describes the whole file: known number types, sizes that
 * fit the shapes, no overlap, no hole, nothing past the end.
 * @throws ModelError `model.safetensors`, with the file and what was seen.
 */
export function readSafetensorsHeader(path: string): SafetensorsHeader {
  const { text, fileBytes } = readHeaderText(path)
  const json = parseHeader(path, text)
  const dataStart = 8 + Buffer.byteLength(text)
  const tensors = new Map<string, SafetensorsEntry>()
  let metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = checkMetadata(path, value)
    else tensors.set(name, checkEntry(path, name, value, dataStart))
  }
  checkCoverage(path, tensors, dataStart, fileBytes)
  return { path, metadata, tensors, dataStart }
}

function broken(path: string, seen: string, remedy: string, details: Record<string, unknown> = {}, cause?: unknown): ModelError {
  return new ModelError('model.safetensors', `${path}: ${seen}; ${remedy}`, { path, ...details }, { cause })
}

const again = 'download or copy the file again'

function readHeaderText(path: string): { text: string; fileBytes: number } {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (cause) {
    throw broken(path, `cannot be opened (${(cause as NodeJS.ErrnoException).code})`, 'check that the file exists and may be read', {}, cause)
  }
  try {
    const fileBytes = fstatSync(fd).size
    const start = Buffer.alloc(Math.min(fileBytes, 64))
    readSync(fd, start, 0, start.length, 0)
    if (start.toString('latin1').startsWith('version https://git-lfs')) {
      throw broken(path, 'is a Git LFS pointer, not the weights', 'run `git lfs pull` in its folder', { fileBytes })
    }
    if (fileBytes < 8) throw broken(path, `has ${fileBytes} bytes, too few for a safetensors file`, again, { fileBytes })
    const headerBytes = Number(start.readBigUInt64LE(0))
    if (headerBytes > maxHeaderBytes) {
      throw broken(path, `announces a header of ${headerBytes} bytes, so it is not a safetensors file`, 'give a file in safetensors format', { headerBytes })
    }
    if (headerBytes > fileBytes - 8) {
      throw broken(path, `is cut off: its header needs ${headerBytes} bytes, the file has ${fileBytes}`, again, { headerBytes, fileBytes })
    }
    const header = Buffer.alloc(headerBytes)
    for (let at = 0; at < headerBytes;) {
      const got = readSync(fd, header, at, headerBytes - at, 8 + at)
      if (got === 0) throw broken(path, `ended after ${8 + at} bytes while it was read`, again, { headerBytes, fileBytes })
      at += got
    }
    return { text: decode(path, header), fileBytes }
  } finally {
    closeSync(fd)
  }
}

function decode(path: string, header: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header)
  } catch (cause) {
    throw broken(path, 'has a header that is not UTF-8 text', again, {}, cause)
  }
}

function parseHeader(path: string, text: string): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw broken(path, `has a broken header (${(cause as Error).message})`, again, {}, cause)
  }
  if (!isObject(json)) throw broken(path, 'has a header that is not a JSON object', again)
  const seen = new Set<string>()
  for (const key of jsonKeys(text)) {
    if (seen.has(key)) throw broken(path, `names tensor "${key}" twice`, 'write the file anew with each name once', { tensor: key })
    seen.add(key)
  }
  return json
}

function checkMetadata(path: string, value: unknown): Record<string, string> {
  if (!isObject(value) || Object.values(value).some(v => typeof v !== 'string')) {
    throw broken(path, `has __metadata__ ${JSON.stringify(value)}, expected an object of strings`, 'write the file anew with string values', { value })
  }
  return value as Record<string, string>
}

function checkEntry(path: string, tensor: string, value: unknown, dataStart: number): SafetensorsEntry {
  const entry = (isObject(value) ? value : {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown }
  const type = byCode.get(entry.dtype as string)
  if (!type) {
    const known = safetensorsDtypes.map(d => d[0]).join(', ')
    throw broken(path, `tensor "${tensor}" has number type ${JSON.stringify(entry.dtype)}`, `convert it to one of ${known}`, { tensor, dtype: entry.dtype })
  }
  if (!isCounts(entry.shape)) {
    throw broken(path, `tensor "${tensor}" has shape ${JSON.stringify(entry.shape)}`, again, { tensor, shape: entry.shape })
  }
  const offsets = entry.data_offsets
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw broken(path, `tensor "${tensor}" has data_offsets ${JSON.stringify(offsets)}, expected [begin, end]`, again, { tensor, offsets })
  }
  const expected = entry.shape.reduce((a, b) => a * b, type.size)
  if (offsets[1] - offsets[0] !== expected) {
    throw broken(path, `tensor "${tensor}" of shape [${entry.shape}] and type ${entry.dtype} needs ${expected} bytes, its data_offsets span ${offsets[1] - offsets[0]}`,
      again, { tensor, shape: entry.shape, offsets })
  }
  return { dtype: type.dtype, shape: entry.shape, begin: dataStart + offsets[0], end: dataStart + offsets[1] }
}

function checkCoverage(path: string, tensors: Map<string, SafetensorsEntry>, dataStart: number, fileBytes: number): void {
  const ordered = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
  let at = dataStart
  for (const [tensor, { begin, end }] of ordered) {
    if (begin < at) throw broken(path, `tensor "${tensor}" starts at byte ${begin}, inside the tensor that ends at ${at}`, again, { tensor, begin, expected: at })
    if (begin > at) throw broken(path, `bytes ${at} to ${begin}, before tensor "${tensor}", belong to no tensor`, again, { tensor, begin, expected: at })
    if (end > fileBytes) {
      throw broken(path, `is cut off: tensor "${tensor}" ends at byte ${end}, the file has ${fileBytes}`, again, { tensor, end, fileBytes })
    }
    at = end
  }
  if (at !== fileBytes) throw broken(path, `has ${fileBytes - at} bytes after its last tensor`, again, { end: at, fileBytes })
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(v => Number.isSafeInteger(v) && v >= 0)
}
