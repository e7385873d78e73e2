import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { DType, Tensor } from 'fettle-native'
import { ModelError } from '../../errors'
import { atomically, writeAll, writeJsonAtomically } from './atomic'
import { native } from './native'
import { safetensorsDtypes } from './safetensors-header'

const codes = new Map<DType, { code: string; size: number; order: number }>(
  safetensorsDtypes.map(([code, dtype, size], order) => [dtype, { code, size, order }]))

/** A tensor, or its bytes, made when its turn to be written comes and freed after it, so that all of them never exist at once. */
export type LazyTensor = { readonly dtype: DType; readonly shape: readonly number[] } & ({ readonly make: () => Tensor } | { readonly bytes: () => Uint8Array })

/** What goes through memory at once while a tensor is written. */
const pieceBytes = 64 << 20

/**
 * Writes tensors as one safetensors file: to a temporary file beside it, synced, then renamed, so that `path` is
 * either the old file or the whole new one. Tensors stream through a buffer of at most 64 MB; number types are kept.
 * Tensors are ordered as the format's own library orders them (by number type, then name).
 * @param metadata strings for the header; by default `{ format: 'pt' }`, which transformers asks for
 * @throws ModelError `model.write` for a number type that the format has no name for, or when the disk refuses
 */
export function writeSafetensors(path: string, entries: ReadonlyMap<string, Tensor | LazyTensor>, metadata: Readonly<Record<string, string>> = { format: 'pt' }): void {
  const ordered = order(entries, path)
  atomically(path, fd => {
    writeAll(fd, headerBytes(ordered, metadata))
    for (const { tensor, bytes } of ordered) {
      if ('bytes' in tensor) writeAll(fd, tensor.bytes())
      else if ('make' in tensor) native().scope(() => writeTensor(fd, tensor.make(), bytes))
      else writeTensor(fd, tensor, bytes)
    }
  })
}

/** Name of the index file beside the shards. */
export const indexName = 'model.safetensors.index.json'

/**
 * Writes `model.safetensors`, or, when the tensors are more than `maxShardBytes`, shards
 * `model-00001-of-0000N.safetensors` with their index written last. Returns the file names.
 */
export function writeShardedSafetensors(folder: string, entries: ReadonlyMap<string, Tensor | LazyTensor>, options: { maxShardBytes: number }): string[] {
  mkdirSync(folder, { recursive: true })
  const shards = split(order(entries, folder, false), options.maxShardBytes)
  if (shards.length <= 1) {
    writeSafetensors(join(folder, 'model.safetensors'), entries)
    rmSync(join(folder, indexName), { force: true })
    removeOtherShards(folder, [])
    return ['model.safetensors']
  }
  const weightMap: Record<string, string> = {}
  const files = shards.map((shard, i) => {
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`
    writeSafetensors(join(folder, file), new Map(shard.map(e => [e.name, e.tensor])))
    for (const e of shard) weightMap[e.name] = file
    return file
  })
  const total = shards.flat().reduce((sum, e) => sum + e.bytes, 0)
  writeJsonAtomically(join(folder, indexName), { metadata: { total_size: total }, weight_map: weightMap })
  rmSync(join(folder, 'model.safetensors'), { force: true })
  removeOtherShards(folder, files)
  return [...files, indexName]
}

/** An earlier, differently cut model in the same folder would leave shards that no index names. */
function removeOtherShards(folder: string, keep: readonly string[]): void {
  for (const file of readdirSync(folder)) {
    if (/^model-\d{5}-of-\d{5}\.safetensors$/.test(file) && !keep.includes(file)) rmSync(join(folder, file))
  }
}

interface Ordered { name: string; tensor: Tensor | LazyTensor; code: string; bytes: number; order: number }

function order(entries: ReadonlyMap<string, Tensor | LazyTensor>, path: string, sort = true): Ordered[] {
  const list = [...entries].map(([name, tensor]) => {
    const type = codes.get(tensor.dtype)
    if (!type) {
      throw new ModelError('model.write', `${path}: tensor "${name}" has number type ${tensor.dtype}, which safetensors cannot hold; convert it to one of ${[...codes.keys()].join(', ')}`,
        { path, tensor: name, dtype: tensor.dtype })
    }
    return { name, tensor, code: type.code, bytes: tensor.shape.reduce((a, b) => a * b, type.size), order: type.order }
  })
  // Wider number types first: every offset is then a multiple of its tensor's item size.
  return sort ? list.sort((a, b) => b.order - a.order || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name))) : list
}

function split(list: Ordered[], maxBytes: number): Ordered[][] {
  const shards: Ordered[][] = []
  let room = 0
  for (const e of list) {
    if (!shards.length || e.bytes > room) {
      shards.push([])
      room = maxBytes
    }
    shards[shards.length - 1].push(e)
    room -= e.bytes
  }
  return shards
}

function headerBytes(ordered: Ordered[], metadata: Readonly<Record<string, string>>): Buffer {
  const parts = [`"__metadata__":${JSON.stringify(metadata)}`]
  let at = 0
  for (const { name, tensor, code, bytes } of ordered) {
    parts.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype: code, shape: tensor.shape, data_offsets: [at, at + bytes] })}`)
    at += bytes
  }
  const json = Buffer.from(`{${parts.join(',')}}`)
  // Padded with spaces so that the data begins at a multiple of eight.
  const out = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ')
  out.writeBigUInt64LE(BigInt(out.length - 8), 0)
  json.copy(out, 8)
  return out
}

/** Tensors on the CPU are written from where they lie; of others, and of those with gaps between rows, as many rows at once as a buffer holds. */
function writeTensor(fd: number, tensor: Tensor, bytes: number): void {
  if (bytes === 0) return
  const rows = tensor.shape[0] ?? 1
  if (bytes <= pieceBytes || rows < 2 || (tensor.device === 'cpu' && tensor.isContiguous)) return tensor.writeBytes(fd)
  const perPiece = Math.max(1, Math.floor(pieceBytes / (bytes / rows)))
  for (let row = 0; row < rows; row += perPiece) {
    native().scope(() => writeTensor(fd, rowsOf(tensor, row, Math.min(perPiece, rows - row)), bytes / rows * Math.min(perPiece, rows - row)))
  }
}

function rowsOf(tensor: Tensor, start: number, count: number): Tensor {
  const { narrow, select } = native().ops
  const rows = narrow(tensor, 0, start, count)
  // A single row that is still too large is cut along its own first axis.
  return count === 1 && tensor.shape.length > 1 ? select(rows, 0, 0) : rows
}

function number(n: number): string {
  return String(n).padStart(5, '0')
}
