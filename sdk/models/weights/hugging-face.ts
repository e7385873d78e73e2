import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Tensor } from 'fettle-native'
import { ModelError } from '../../errors'
import { convert } from './gguf'
import { readJsonObject } from './json'
import { PickleFile } from './pickle'
import { nearby, SafetensorsFile } from './safetensors-read'
import { indexName } from './safetensors-write'
import type { ReadOptions, TensorFile, TensorInfo, TokenizerSource, Weights } from './types'

/** What files of one kind are called, and how one is opened. */
export interface FolderFormat {
  readonly kind: 'safetensors' | 'pickle'
  readonly single: string
  readonly index: string
  readonly open: (path: string) => TensorFile
}

const formats: readonly FolderFormat[] = [
  { kind: 'safetensors', single: 'model.safetensors', index: indexName, open: (path) => new SafetensorsFile(path) },
  { kind: 'pickle', single: 'pytorch_model.bin', index: 'pytorch_model.bin.index.json', open: (path) => new PickleFile(path) },
]

/** The kind of files that a folder's weights are in, safetensors before others; `undefined`: it has none. */
export function formatOf(folder: string): FolderFormat | undefined {
  return formats.find(({ single, index }) => existsSync(join(folder, single)) || existsSync(join(folder, index)))
}

/** Names of a folder's files of weights. */
export function weightFiles(folder: string, { single, index }: FolderFormat): string[] {
  return existsSync(join(folder, single)) ? [single] : [...new Set(Object.values(readIndex(folder, index)))]
}

/** A Hugging Face folder: config.json and model.safetensors or pytorch_model.bin, or shards with their index. */
export class HuggingFaceWeights implements Weights {
  readonly kind: FolderFormat['kind']
  readonly config: Readonly<Record<string, unknown>>
  readonly generationConfig?: Readonly<Record<string, unknown>>
  private readonly files = new Map<string, TensorFile>()
  /** File of each tensor. */
  private readonly where: Map<string, TensorFile>

  constructor(readonly path: string, private readonly format: FolderFormat) {
    this.kind = format.kind
    this.config = readJsonObject(join(path, 'config.json'))
    const generation = join(path, 'generation_config.json')
    if (existsSync(generation)) this.generationConfig = readJsonObject(generation)
    this.where = existsSync(join(path, format.single)) ? this.single() : this.sharded()
  }

  has(name: string): boolean { return this.where.has(name) }

  names(): string[] { return [...this.where.keys()] }

  info(name: string): TensorInfo {
    const { shape, dtype } = this.file(name).tensors.get(name)!
    return { shape, dtype }
  }

  read(name: string, options: ReadOptions = {}): Tensor {
    const tensor = this.file(name).read(name)
    return options.dtype === undefined || options.dtype === tensor.dtype ? tensor : convert(tensor, options.dtype)
  }

  close(): void {
    for (const file of this.files.values()) file.close()
  }

  tokenizer(): TokenizerSource { return { kind: 'file', folder: this.path } }

  private file(name: string): TensorFile {
    const file = this.where.get(name)
    if (file) return file
    throw new ModelError('model.tensor', `${this.path}: has no weight "${name}"; it has ${nearby(name, this.where.keys())}`, { path: this.path, tensor: name })
  }

  private single(): Map<string, TensorFile> {
    const file = this.open(this.format.single)
    return new Map([...file.tensors.keys()].map(name => [name, file]))
  }

  private sharded(): Map<string, TensorFile> {
    const weightMap = readIndex(this.path, this.format.index)
    const where = new Map<string, TensorFile>()
    for (const [name, fileName] of Object.entries(weightMap)) {
      const file = this.open(fileName)
      if (!file.tensors.has(name)) {
        throw new ModelError('model.index', `${join(this.path, this.format.index)}: says that "${name}" is in ${fileName}, which does not have it; download the folder again`,
          { path: this.path, tensor: name, file: fileName })
      }
      where.set(name, file)
    }
    this.refuseStrays(where)
    return where
  }

  /** A tensor that a shard holds and the index does not name there is a duplicate or from another model. */
  private refuseStrays(where: Map<string, TensorFile>): void {
    for (const [fileName, file] of this.files) {
      for (const name of file.tensors.keys()) {
        const home = where.get(name)
        if (home === file) continue
        const seen = home ? `tensor "${name}" is in ${fileName} too, the index has it in another shard` : `tensor "${name}" of ${fileName} is not in the index`
        throw new ModelError('model.index', `${join(this.path, this.format.index)}: ${seen}; download the folder again`, { path: this.path, tensor: name, file: fileName })
      }
    }
  }

  private open(fileName: string): TensorFile {
    const known = this.files.get(fileName)
    if (known) return known
    const path = join(this.path, fileName)
    if (!existsSync(path)) {
      throw new ModelError('model.shard', `${path}: is missing, though the index names it; download the folder again`, { path, folder: this.path })
    }
    const file = this.format.open(path)
    this.files.set(fileName, file)
    return file
  }
}

/** File of each tensor, as an index (model.safetensors.index.json) gives it. */
function readIndex(folder: string, index: string): Record<string, string> {
  const path = join(folder, index)
  const weightMap = readJsonObject(path).weight_map
  const sound = typeof weightMap === 'object' && weightMap !== null
    && Object.values(weightMap).every(file => typeof file === 'string' && !/[/\\]|^\.\.?$/.test(file))
  if (sound) return weightMap as Record<string, string>
  throw new ModelError('model.index', `${path}: has no weight_map from tensor names to file names of the same folder; download the folder again`, { path })
}
