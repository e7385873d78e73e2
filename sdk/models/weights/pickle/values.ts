import type { DType } from 'fettle-native'

/** Bytes of the file that a value names without having been read: positions from the start of the file. */
export class Span {
  constructor(readonly begin: number, readonly length: number) {}
}

/** A long text that stays in the file as UTF-8 (old pickles keep arrays so, one character a byte). */
export class TextSpan {
  constructor(readonly begin: number, readonly length: number) {}
}

/** The type of a storage, as `torch.FloatStorage` names it; `null`: untyped bytes. */
export class StorageType {
  constructor(readonly dtype: DType | null) {}
}

/** A number type by its name in torch (`torch.float32`). */
export class TorchType {
  constructor(readonly dtype: DType) {}
}

/** Memory that tensors share, by the key that the archive files it under. */
export class Storage {
  constructor(readonly key: string, readonly dtype: DType | null, readonly elements: number) {}
}

/** A view of a storage: offset and strides in elements. */
export class TensorView {
  constructor(readonly storage: Storage, readonly dtype: DType, readonly offset: number, readonly shape: readonly number[], readonly strides: readonly number[]) {}
}

/** A number type of numpy; little-endian or without an order. */
export class NumpyType {
  constructor(readonly dtype: DType, readonly bytes: number) {}
}

/** An array of numpy; filled by the BUILD that follows its making. */
export class NumpyArray {
  type: NumpyType | null = null
  shape: readonly number[] = []
  /** Columns first (Fortran's order). */
  columnsFirst = false
  data: Span | TextSpan | Uint8Array = new Uint8Array(0)
}

/** A mapping, in its order; keys are what the pickle has. */
export type Dictionary = Map<unknown, unknown>
