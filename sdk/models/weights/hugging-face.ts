import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Tensor } from 'fettle-native'
import { ModelError } from '../../errors'
import { convert } from './gguf'
import { readJsonObject } from './json'
import { nearby, SafetensorsFile } from './safetensors-read'
import { indexName } from './safetensors-write'
import type { ReadOptions, TensorInfo, TokenizerSource, Weights } from './types'

/** A Hugging Face folder: config.json and model.safetensors, or its shards with their index. */
export class HuggingFaceWeights implements Weights {
  readonly kind = 'safetensors'
  readonly config: Readonly<Record<string, unknown>>
  readonly generationConfig?: Readonly<Record<string, unknown>>
  private readonly files = new Map<string, SafetensorsFile>()
  /** File of each tensor. */
  private readonly where: Map<string, SafetensorsFile>

  constructor(readonly path: string) {
    this.config = readJsonObject(join(path, 'config.json'))
    const generation = join(path, 'generation_config.json')
    if (existsSync(generation)) this.generationConfig = readJsonObject(generation)
    this.where = existsSync(join(path, 'model.safetensors')) ? this.single() : this.sharded()
  }

  has(name: string): boolean { return this.where.has(name) }

  names(): string[] { return [...this.where.keys()] }

  info(name: string): TensorInfo {
    const { shape, dtype } = this.file(name).header.tensors.get(name)!
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

  private file(name: string): SafetensorsFile {
    const file = this.where.get(name)
    if (file) return file
    throw new ModelError('model.tensor', `${this.path}: has no weight "${name}"; it has ${nearby(name, this.where.keys())}`, { path: this.path, tensor: name })
  }

  private single(): Map<string, SafetensorsFile> {
    const file = this.open('model.safetensors')
    return new Map([...file.header.tensors.keys()].map(name => [name, file]))
  }

  private sharded(): Map<string, SafetensorsFile> {
    const weightMap = readIndex(this.path)
    const where = new Map<string, SafetensorsFile>()
    for (const [name, fileName] of Object.entries(weightMap)) {
      const file = this.open(fileName)
      if (!file.header.tensors.has(name)) {
        throw new ModelError('model.index', `${join(this.path, indexName)}: says that "${name}" is in ${fileName}, which does not have it; download the folder again`,
          { path: this.path, tensor: name, file: fileName })
      }
      where.set(name, file)
    }
    this.refuseStrays(where)
    return where
  }

  /** A tensor that a shard holds and the index does not name there is a duplicate or from another model. */
  private refuseStrays(where: Map<string, SafetensorsFile>): void {
    for (const [fileName, file] of this.files) {
      for (const name of file.header.tensors.keys()) {
        const home = where.get(name)
        if (home === file) continue
        const seen = home ? `tensor "${name}" is in ${fileName} too, the index has it in another shard` : `tensor "${name}" of ${fileName} is not in the index`
        throw new ModelError('model.index', `${join(this.path, indexName)}: ${seen}; download the folder again`, { path: this.path, tensor: name, file: fileName })
      }
    }
  }

  private open(fileName: string): SafetensorsFile {
    const known = this.files.get(fileName)
    if (known) return known
    const path = join(this.path, fileName)
    if (!existsSync(path)) {
      throw new ModelError('model.shard', `${path}: is missing, though the index names it; download the folder again`, { path, folder: this.path })
    }
    const file = new SafetensorsFile(path)
    this.files.set(fileName, file)
    return file
  }
}

/** File of each tensor, as model.safetensors.index.json gives it. */
export function readIndex(folder: string): Record<string, string> {
  const path = join(folder, indexName)
  const weightMap = readJsonObject(path).weight_map
  const sound = typeof weightMap === 'object' && weightMap !== null
    && Object.values(weightMap).every(file => typeof file === 'string' && !/[/\\]|^\.\.?$/.test(file))
  if (sound) return weightMap as Record<string, string>
  throw new ModelError('model.index', `${path}: has no weight_map from tensor names to file names of the same folder; download the folder again`, { path })
}
