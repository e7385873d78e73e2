import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Tensor } from 'fettle-native'
import { ModelError } from '../../../errors'
import type { Role } from '../../architecture'
import { familyOf } from '../../families'
import { storedWeights } from '../../layout'
import { convert } from '../gguf'
import { readJsonObject } from '../json'
import { native } from '../native'
import { nearby } from '../safetensors-read'
import type { ReadOptions, TensorFile, TensorInfo, TokenizerSource, Weights } from '../types'
import { dialectOf, isPaddleName, joinedBy, publishedConfig, publishedName, type Joined } from './names'
import { groupedRows, mergeShards, rolesOf } from './shards'

/** A weight of ours in PaddleNLP's files: under which name, and what part of it. */
interface Source {
  /** Its name there. */
  readonly name: string
  /** Stored [in, out]. */
  readonly transposed: boolean
  /** How tensor-parallel shards of the whole of it were cut. */
  readonly role: Role
  readonly part: { readonly joined: Joined; readonly index: number } | null
}

/** What the record asks of a weight. */
interface Wanted { readonly shape: readonly number[]; readonly role: Role }

/**
 * A model in PaddleNLP's layout, as the family's published checkpoints would have it: their names and configuration, linear
 * layers [out, in], joined matrices apart, tensor-parallel shards put together.
 * @throws ModelError `model.paddle`, `model.family`
 */
export class PaddleWeights implements Weights {
  readonly kind = 'paddle'
  readonly config: Readonly<Record<string, unknown>>
  readonly generationConfig?: Readonly<Record<string, unknown>>
  private readonly wanted: ReadonlyMap<string, Wanted>
  private readonly sources = new Map<string, Source>()
  private readonly grouped: { readonly heads: number; readonly kvHeads: number; readonly headDim: number }

  /** @param shards one a tensor-parallel rank, in their order */
  constructor(readonly path: string, private readonly shards: readonly TensorFile[], config: Readonly<Record<string, unknown>>) {
    const generation = join(path, 'generation_config.json')
    if (existsSync(generation)) this.generationConfig = readJsonObject(generation)
    const dialect = dialectOf(config)
    this.config = publishedConfig(dialect, config, [...shards[0].tensors.keys()])
    const family = familyOf(this.config), architecture = family.architecture(this.config), names = family.names(architecture)
    this.grouped = architecture
    const stored = storedWeights(architecture, names)
    const wanted = new Map<string, Wanted>(stored.flatMap(({ shape, parts }) => parts.map(({ name, rows, role }) => [name, { shape: [rows, ...shape.slice(1)], role }] as const)))
    // A tied head may be there once more, cut as its twin.
    const head = `${names.head}.weight`
    this.wanted = wanted.has(head) ? wanted : wanted.set(head, wanted.get(`${names.embedding}.weight`)!)
    const tables = new Set([`${names.embedding}.weight`, `${names.positionEmbedding}.weight`])
    for (const name of this.shards[0].tensors.keys()) {
      const published = publishedName(dialect, name), dot = published.lastIndexOf('.')
      const joined = joinedBy(dialect, published.slice(0, dot)), shape = this.shards[0].tensors.get(name)!.shape
      const transposed = shape.length === 2 && !tables.has(published) && !name.endsWith('.decoder_weight')
      const ours = joined === null ? [published] : joined.parts.map((part) => part + published.slice(dot))
      const role = rolesOf(ours.map((each) => this.wanted.get(each)), joined)
      ours.forEach((each, index) => this.sources.set(each, { name, transposed, role, part: joined && { joined, index } }))
    }
  }

  has(name: string): boolean { return this.sources.has(name) }

  names(): string[] { return [...this.sources.keys()] }

  info(name: string): TensorInfo {
    const { name: own, transposed } = this.source(name), { shape, dtype } = this.shards[0].tensors.get(own)!
    const wanted = this.wanted.get(name)
    // Of shards and joined matrices the whole is known from the configuration, and `read` checks it.
    return { dtype, shape: wanted !== undefined && (this.shards.length > 1 || this.source(name).part !== null) ? wanted.shape : transposed ? [...shape].reverse() : shape }
  }

  read(name: string, options: ReadOptions = {}): Tensor {
    const { ops, scope } = native(), source = this.source(name)
    const made = scope(() => {
      const whole = mergeShards(name, this.shards.map((shard) => this.oriented(shard, source)), source.role, this.wanted.get(name)?.shape, source.part !== null)
      return source.part === null ? ops.contiguous(whole) : this.partOf(whole, source.part)
    })
    const { shape } = this.info(name)
    if (made.shape.join() !== shape.join()) throw this.broken(name, `gives [${made.shape.join(', ')}] for ${name}, config.json asks for [${shape.join(', ')}]`)
    return options.dtype === undefined || options.dtype === made.dtype ? made : convert(made, options.dtype)
  }

  close(): void { for (const shard of this.shards) shard.close() }

  tokenizer(): TokenizerSource { return { kind: 'file', folder: this.path } }

  private oriented(shard: TensorFile, { name, transposed }: Source): Tensor {
    if (!shard.tensors.has(name)) throw this.broken(name, `has no ${name} in one of its ${this.shards.length} shards`)
    const tensor = shard.read(name)
    return transposed ? native().ops.t(tensor) : tensor
  }

  private partOf(whole: Tensor, { joined, index }: NonNullable<Source['part']>): Tensor {
    const { ops } = native(), { heads, kvHeads, headDim } = this.grouped
    if (joined.layout === 'separate') {
      const rows = whole.shape[0] / joined.parts.length
      return ops.clone(ops.narrow(whole, 0, index * rows, rows), { memoryFormat: 'contiguous' })
    }
    return groupedRows(whole, kvHeads, [heads / kvHeads, 1, 1].map((count) => count * headDim), index)
  }

  private source(name: string): Source {
    const source = this.sources.get(name)
    if (source) return source
    throw new ModelError('model.tensor', `${this.path}: has no weight "${name}"; it has ${nearby(name, this.sources.keys())}`, { path: this.path, tensor: name })
  }

  private broken(name: string, seen: string): ModelError {
    return new ModelError('model.paddle', `${this.path}: ${seen}; copy the folder again, with all its shards and its own config.json`, { path: this.path, tensor: name })
  }
}

const shardName = /^model_state(?:\.tp(\d+)(?:_pp(\d+))?|-\d+-of-\d+)?\.pdparams$/

/** Is it a name of PaddleNLP's own files of weights? */
export function isPaddleFile(name: string): boolean { return shardName.test(name) }

/** Names of PaddleNLP's own files of weights in a folder. */
export function paddleFiles(folder: string): string[] { return readdirSync(folder).filter(isPaddleFile).sort() }

/**
 * Files by tensor-parallel rank: pipeline stages of a rank, and numbered pieces, belong together.
 * @throws ModelError `model.paddle` when a rank is missing
 */
export function paddleRanks(folder: string, files: readonly string[]): string[][] {
  const ranks = new Map<number, string[]>()
  for (const name of files) {
    const rank = Number(shardName.exec(name)?.[1] ?? 0)
    ranks.set(rank, [...ranks.get(rank) ?? [], name])
  }
  const numbers = [...ranks.keys()].sort((a, b) => a - b), gap = numbers.findIndex((rank, i) => rank !== i)
  if (gap >= 0) throw new ModelError('model.paddle', `${folder}: has shards of ranks ${numbers.join(', ')}, and ${gap} is missing; copy all of them`, { path: folder, ranks: numbers })
  return numbers.map((rank) => ranks.get(rank) as string[])
}

/** True when files of Hugging Face's kind hold PaddleNLP's names. */
export function speaksPaddle(config: Readonly<Record<string, unknown>>, names: readonly string[]): boolean {
  return names.some((name) => isPaddleName(config, name))
}
