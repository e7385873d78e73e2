import type { DType, MappedFile, Tensor } from 'fettle-native'
import { ModelError } from '../../errors'
import { dequantizers } from './gguf-blocks'
import { ggufConfig, ggufTokenizer } from './gguf-config'
import { readGguf, type GgufFile, type GgufTensor } from './gguf-metadata'
import { deinterleavedRow, ggufArchitecture } from './gguf-names'
import { native } from './native'
import { rounding } from './rounding'
import { nearby, readRange } from './safetensors-read'
import type { ReadOptions, TensorInfo, TokenizerSource, Weights } from './types'

interface Place { readonly tensor: GgufTensor; readonly interleaved: number | undefined }

/** A GGUF file under its family's Hugging Face names, weights dequantised and rows in Hugging Face's order. */
export class GgufWeights implements Weights {
  readonly kind = 'gguf'
  readonly config: Readonly<Record<string, unknown>>
  private readonly file: GgufFile
  private readonly places = new Map<string, Place>()
  private mapping: MappedFile | undefined

  constructor(readonly path: string) {
    this.file = readGguf(path)
    refuseParts(this.file)
    const architecture = ggufArchitecture(this.file)
    const factors = this.file.tensors.get('rope_freqs.weight')
    this.config = ggufConfig(this.file, architecture, factors && dequantize(path, factors))
    const { num_attention_heads: heads, num_key_value_heads: kvHeads } = this.config as Record<string, number>
    for (const tensor of this.file.tensors.values()) {
      const name = architecture.name(tensor.name)
      if (name === undefined) {
        throw new ModelError('model.gguf', `${path}: has tensor "${tensor.name}", unknown in architecture ${architecture.modelType}; use the model's Hugging Face folder`,
          { path, tensor: tensor.name })
      }
      if (name !== null) this.places.set(name, { tensor, interleaved: architecture.interleaved(tensor.name, heads, kvHeads) })
    }
  }

  has(name: string): boolean { return this.places.has(name) }

  names(): string[] { return [...this.places.keys()] }

  info(name: string): TensorInfo {
    const { tensor } = this.place(name)
    return { shape: tensor.shape, dtype: ownDtype(tensor) }
  }

  read(name: string, options: ReadOptions = {}): Tensor {
    const { tensor, interleaved } = this.place(name)
    const own = ownDtype(tensor)
    const dtype = options.dtype ?? own
    if (tensor.type.block === 1 && dtype === own && interleaved === undefined) {
      this.mapping ??= native().mapFile(this.path)
      return this.mapping.tensor(tensor.begin, tensor.shape, dtype)
    }
    const rows = dequantize(this.path, tensor, interleaved, dtype === 'bfloat16')
    const made = native().fromBytes(rows, tensor.shape, rows instanceof Uint16Array ? 'bfloat16' : 'float32')
    return made.dtype === dtype ? made : convert(made, dtype)
  }

  close(): void {
    this.mapping?.close()
    this.mapping = undefined
  }

  tokenizer(): TokenizerSource { return ggufTokenizer(this.file) }

  private place(name: string): Place {
    const place = this.places.get(name)
    if (place) return place
    throw new ModelError('model.tensor', `${this.path}: has no weight "${name}"; it has ${nearby(name, this.places.keys())}`, { path: this.path, tensor: name })
  }
}

/** Number type that `read` gives when none is asked for: quantised weights become fp32. */
function ownDtype(tensor: GgufTensor): DType {
  return tensor.type.name === 'F16' ? 'float16' : tensor.type.name === 'BF16' ? 'bfloat16' : 'float32'
}

/** Converts and frees the original. */
export function convert(tensor: Tensor, dtype: DType): Tensor {
  const converted = native().ops.to(tensor, { dtype })
  native().forgetPages(tensor)
  tensor.free()
  return converted
}

/**
 * One tensor's weights as fp32, or as the bits of bfloat16, row by row: each row goes to its place in the checkpoint's
 * order while it is still in the cache.
 */
function dequantize(path: string, tensor: GgufTensor, interleaved?: number): Float32Array
function dequantize(path: string, tensor: GgufTensor, interleaved: number | undefined, asBfloat16: boolean): Float32Array | Uint16Array
function dequantize(path: string, tensor: GgufTensor, interleaved?: number, asBfloat16 = false): Float32Array | Uint16Array {
  const { type, shape, begin, bytes } = tensor
  const columns = interleaved === undefined || shape.length > 1 ? shape[shape.length - 1] ?? 1 : 1
  const rows = shape.reduce((a, b) => a * b, 1) / columns
  const blocks = columns / type.block
  const rowBytes = blocks * type.bytes
  const rowsPerHead = interleaved === undefined ? 0 : rows / interleaved
  const source = readRange(path, begin, bytes)
  const kernel = dequantizers[type.name]
  const place = (row: number) => (rowsPerHead ? deinterleavedRow(row, rowsPerHead) : row) * columns
  if (!asBfloat16) {
    const out = new Float32Array(rows * columns)
    for (let row = 0; row < rows; row++) kernel(source, row * rowBytes, blocks, out, place(row))
    return out
  }
  const out = new Uint16Array(rows * columns)
  const floats = new Float32Array(columns)
  const words = new Uint32Array(floats.buffer)
  for (let row = 0; row < rows; row++) {
    kernel(source, row * rowBytes, blocks, floats, 0)
    rounding.toBfloat16(words, columns, out, place(row))
  }
  return out
}

function refuseParts(file: GgufFile): void {
  const parts = file.metadata.get('split.count')
  if (typeof parts === 'number' && parts > 1) {
    throw new ModelError('model.gguf', `${file.path}: is one of ${parts} parts; join them with \`llama-gguf-split --merge\` and give the result`, { path: file.path, parts })
  }
}
