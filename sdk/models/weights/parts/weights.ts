import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { DType, Tensor } from 'fettle-native'
import { ModelError } from '../../../errors'
import { readJsonObject } from '../json'
import { native } from '../native'
import { nearby } from '../safetensors-read'
import type { ReadOptions, TensorInfo, TokenizerSource, Weights } from '../types'
import { JoinedParts } from './joined'

/** The file by which a folder of parts is read as a model. */
export const partsIndexName = 'model.parts.json'

/** Stem of the files that ranks write masters and moments into. */
export const stateStem = 'optimizer'

/** Name of a parameter's fp32 master in them. */
export function masterName(parameter: string): string { return `master.${parameter}` }

/** `model.parts.json`: how the masters that ranks wrote are the weights of a model. */
export interface PartsIndex {
  readonly version: 1
  /** How many wrote. */
  readonly ranks: number
  /** Number type that the model computes in, and is saved in. */
  readonly dtype: DType
  /** The parameter that a weight is, by the name that the model's own files give the weight; a tied head stands here beside its twin. */
  readonly tensors: Readonly<Record<string, string>>
}

/**
 * The model in a checkpoint of several ranks, which hold its weights as parts: each weight is put together when it is read, and
 * rounded once from the fp32 master to the type that is asked for.
 * @throws CheckpointError `checkpoint.parts` when a rank's file is missing
 */
export class PartWeights implements Weights {
  readonly kind = 'parts'
  readonly config: Readonly<Record<string, unknown>>
  readonly generationConfig?: Readonly<Record<string, unknown>>
  readonly joined: JoinedParts
  private readonly index: PartsIndex

  constructor(readonly path: string) {
    this.index = readJsonObject(join(path, partsIndexName)) as unknown as PartsIndex
    this.config = readJsonObject(join(path, 'config.json'))
    const generation = join(path, 'generation_config.json')
    if (existsSync(generation)) this.generationConfig = readJsonObject(generation)
    this.joined = new JoinedParts(path, stateStem, this.index.ranks)
  }

  has(name: string): boolean { return Object.hasOwn(this.index.tensors, name) }

  names(): string[] { return Object.keys(this.index.tensors) }

  info(name: string): TensorInfo { return { shape: this.joined.shape(this.master(name)) ?? [], dtype: this.index.dtype } }

  read(name: string, options: ReadOptions = {}): Tensor {
    const { ops, scope } = native()
    return scope(() => ops.to(this.joined.read(this.master(name)), { dtype: options.dtype ?? this.index.dtype }))
  }

  close(): void { this.joined.close() }

  tokenizer(): TokenizerSource { return { kind: 'file', folder: this.path } }

  private master(name: string): string {
    if (this.has(name)) return masterName(this.index.tensors[name])
    throw new ModelError('model.tensor', `${this.path}: has no weight "${name}"; it has ${nearby(name, this.names())}`, { path: this.path, tensor: name })
  }
}
