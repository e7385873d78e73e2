import { closeSync, openSync, readSync } from 'node:fs'
import type { MappedFile, Tensor } from 'fettle-native'
import { ModelError } from '../../errors'
import { native } from './native'
import { readSafetensorsHeader, type SafetensorsHeader } from './safetensors-header'

/** A safetensors file whose tensors are read one by one. */
export class SafetensorsFile {
  readonly header: SafetensorsHeader
  private mapping: MappedFile | undefined

  constructor(readonly path: string) {
    this.header = readSafetensorsHeader(path)
  }

  get tensors(): SafetensorsHeader['tensors'] { return this.header.tensors }

  /** The tensor as stored. It shares the mapped file where its offset is aligned, and is a copy elsewhere. */
  read(name: string): Tensor {
    const entry = this.header.tensors.get(name)
    if (!entry) {
      throw new ModelError('model.tensor', `${this.path}: has no tensor "${name}"; it has ${nearby(name, this.header.tensors.keys())}`, { path: this.path, tensor: name })
    }
    if (entry.begin === entry.end) return native().fromBytes(new Uint8Array(0), entry.shape, entry.dtype)
    this.mapping ??= native().mapFile(this.path)
    return this.mapping.tensor(entry.begin, entry.shape, entry.dtype)
  }

  /** Lets go of the mapping; tensors that were read keep it alive as long as they need it. */
  close(): void {
    this.mapping?.close()
    this.mapping = undefined
  }
}

/**
 * All tensors of a safetensors file by name, zero-copy through a private mapping of the file.
 * @throws ModelError `model.safetensors` when the file is broken.
 */
export function readSafetensors(path: string): Map<string, Tensor> {
  const file = new SafetensorsFile(path)
  const tensors = new Map([...file.header.tensors.keys()].map(name => [name, file.read(name)]))
  file.close()
  return tensors
}

/** Reads `length` bytes at `offset` of a file into a new buffer. */
export function readRange(path: string, offset: number, length: number): Uint8Array {
  const out = new Uint8Array(length)
  const fd = openSync(path, 'r')
  try {
    // One read call moves at most 2 GiB.
    for (let at = 0; at < length;) {
      const got = readSync(fd, out, at, Math.min(length - at, 1 << 30), offset + at)
      if (got === 0) throw new ModelError('model.truncated', `${path}: ended at byte ${offset + at} while it was read; download or copy the file again`, { path, offset, length })
      at += got
    }
    return out
  } finally {
    closeSync(fd)
  }
}

/** The names nearest to `name`, or a few of them, for an error message. */
export function nearby(name: string, names: Iterable<string>): string {
  const all = [...names]
  const tail = name.split('.').slice(-2).join('.')
  const close = all.filter(n => n.endsWith(tail))
  const shown = (close.length ? close : all).slice(0, 4)
  return `${all.length} tensors, such as ${shown.join(', ')}`
}
