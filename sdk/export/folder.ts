import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { scope, type DType, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Parameters } from '../models/parameters'
import { openWeights, writeJsonAtomically, writeShardedSafetensors, type GgufTokenizerMaterial, type LazyTensor, type TensorInfo, type TokenizerSource, type Weights } from '../models/weights'
import { tokenizerFiles } from '../models/weights/tokenizer-files'
import { specFromGguf } from '../tokenizers/gguf'

/** What a model folder is made of. */
export interface ModelFolder {
  /** Content of the base model's config.json, as `Weights.config` gives it. */
  readonly config: Readonly<Record<string, unknown>>
  /** Weights by their names in the family's checkpoints. */
  readonly tensors: ReadonlyMap<string, Tensor | LazyTensor>
  /** Left out for a model that works on ids alone. */
  readonly tokenizerSource?: TokenizerSource
  /** Left out: start, end and padding ids of the configuration. */
  readonly generationConfig?: Readonly<Record<string, unknown>>
  /** Weights above this go into shards. Left out: 5e9, as Hugging Face does. */
  readonly maxShardBytes?: number
}

/** Of the weights their types and shapes alone. */
type BesideWeights = Omit<ModelFolder, 'tensors' | 'maxShardBytes'> & { readonly tensors: ReadonlyMap<string, TensorInfo> }

/**
 * Writes a folder that Fettle and transformers load: model.safetensors (or shards with their index), tokenizer files,
 * generation_config.json and config.json. A tokenizer of a GGUF file becomes tokenizer.json and tokenizer_config.json
 * with the chat template. Each file is replaced whole, config.json last.
 * @returns names of the files
 * @throws ModelError `model.write`, `tokenizer.gguf`
 */
export function writeModelFolder(folder: string, model: ModelFolder): string[] {
  const files = writeShardedSafetensors(folder, model.tensors, { maxShardBytes: model.maxShardBytes ?? 5e9 })
  return [...files, ...writeBesideWeights(folder, model)]
}

/** Writes what a model folder has beside its weights: tokenizer files, generation_config.json and, last, config.json. */
export function writeBesideWeights(folder: string, { config, tokenizerSource, generationConfig, tensors }: BesideWeights): string[] {
  mkdirSync(folder, { recursive: true })
  const files: string[] = []
  if (tokenizerSource) files.push(...writeTokenizer(folder, tokenizerSource, config))
  const generation = generationConfig ?? generationDefaults(config)
  if (generation) {
    writeJsonAtomically(join(folder, 'generation_config.json'), generation)
    files.push('generation_config.json')
  }
  writeJsonAtomically(join(folder, 'config.json'), configOf(config, tensors))
  return [...files, 'config.json']
}

/**
 * Writes a live model as a folder of its own: weights in the number type that it computes in and under the names of the
 * checkpoint that it was read from, which also gives configuration and tokenizer.
 * @param modelPath the folder or .gguf file that the model was read from
 * @returns names of the files
 */
export function exportModel(parameters: Parameters, modelPath: string, folder: string): string[] {
  const base = openWeights(modelPath)
  try {
    return scope(() => writeModelFolder(folder, {
      config: base.config, generationConfig: base.generationConfig, tokenizerSource: sourceOf(base),
      tensors: parameters.fileWeights(),
    }))
  } finally {
    base.close()
  }
}

/** A GGUF file without a tokenizer still is a model: one that works on ids. */
export function sourceOf(base: Weights): TokenizerSource | undefined {
  try {
    return base.tokenizer()
  } catch (error) {
    if (error instanceof ModelError && error.code === 'model.tokenizer') return undefined
    throw error
  }
}

/**
 * Writes the files of a tokenizer into a folder and returns their names: copies, or what a GGUF file's material becomes.
 * @param config of the model, for its longest input
 */
export function writeTokenizer(folder: string, source: TokenizerSource, config: Readonly<Record<string, unknown>> = {}): string[] {
  mkdirSync(folder, { recursive: true })
  if (source.kind === 'gguf') return writeGgufTokenizer(folder, source, config)
  const files = tokenizerFiles.filter(file => existsSync(join(source.folder, file)))
  if (resolve(source.folder) === resolve(folder)) return files
  // A file that another tokenizer left here would be read along with the new ones.
  for (const file of tokenizerFiles) if (!files.includes(file)) rmSync(join(folder, file), { force: true })
  for (const file of files) {
    const temporary = join(folder, `${file}.${process.pid}.tmp`)
    copyFileSync(join(source.folder, file), temporary)
    renameSync(temporary, join(folder, file))
  }
  return files
}

function writeGgufTokenizer(folder: string, material: GgufTokenizerMaterial, config: Readonly<Record<string, unknown>>): string[] {
  const { json, specialTexts } = specFromGguf(material)
  const templates = Object.entries(material.namedChatTemplates ?? {}).map(([name, template]) => ({ name, template }))
  const template = material.chatTemplate
  const chatTemplate = templates.length ? [...template === undefined ? [] : [{ name: 'default', template }], ...templates] : template
  for (const file of tokenizerFiles) rmSync(join(folder, file), { force: true })
  writeJsonAtomically(join(folder, 'tokenizer.json'), json)
  writeJsonAtomically(join(folder, 'tokenizer_config.json'), {
    tokenizer_class: 'PreTrainedTokenizerFast',
    ...specialTexts,
    clean_up_tokenization_spaces: false,
    ...(typeof config.max_position_embeddings === 'number' ? { model_max_length: config.max_position_embeddings } : {}),
    ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }),
  })
  return ['tokenizer.json', 'tokenizer_config.json']
}

/** The configuration with the number type that the weights have now, under the name that it already uses for it. */
function configOf(config: Readonly<Record<string, unknown>>, tensors: ReadonlyMap<string, TensorInfo>): Record<string, unknown> {
  const { _name_or_path: _, ...kept } = config
  const dtype = commonDtype(tensors)
  return dtype === undefined ? kept : { ...kept, ['dtype' in kept ? 'dtype' : 'torch_dtype']: dtype }
}

/** The number type that most weights have. */
function commonDtype(tensors: ReadonlyMap<string, TensorInfo>): DType | undefined {
  const counts = new Map<DType, number>()
  for (const { dtype, shape } of tensors.values()) counts.set(dtype, (counts.get(dtype) ?? 0) + shape.reduce((a, b) => a * b, 1))
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0]
}

function generationDefaults(config: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const ids = ['bos_token_id', 'eos_token_id', 'pad_token_id'].filter(key => config[key] !== undefined && config[key] !== null).map(key => [key, config[key]])
  return ids.length ? { _from_model_config: true, ...Object.fromEntries(ids) } : undefined
}
