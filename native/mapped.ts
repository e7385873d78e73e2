import { native } from './library'
import { Tensor } from './tensor'
import type { DType } from './types'

/** A file mapped into memory; writes to its tensors stay in memory. */
export interface MappedFile {
  readonly path: string
  /** Length in bytes. */
  readonly length: number
  /** A tensor over the file's bytes, without a copy (with one where the offset is not aligned to the dtype). */
  tensor(byteOffset: number, shape: readonly number[], dtype: DType): Tensor
  /** Lets the mapping go; tensors made before keep it alive. */
  close(): void
}

/** Maps a file, such as safetensors, privately. */
export function mapFile(path: string): MappedFile {
  const [id, length] = native().mapOpen(path)
  return {
    path,
    length,
    tensor: (byteOffset, shape, dtype) => new Tensor(native().mapTensor(id, byteOffset, shape, dtype)),
    close: () => native().mapClose(id),
  }
}

/**
 * Gives back the memory of a mapped tensor that was read and will hardly be again: its pages are read from the file where they are needed after all.
 * Must not have been written to. @returns whether it did; a tensor that is not mapped stays as it is
 */
export function forgetPages(tensor: Tensor): boolean { return native().mapForget(tensor.handle) }
