import { ModelError } from '../../errors'
import { readJsonObject } from '../weights/json'
import { tokenizerFiles } from '../weights/tokenizer-files'

/** Index of a model that is cut into shards. */
export const indexFile = 'model.safetensors.index.json'

const besides = ['config.json', 'generation_config.json', ...tokenizerFiles]

/**
 * What to fetch of a repository: safetensors before anything else, with configuration and tokenizer; a single .gguf
 * file when there are no safetensors. Shards are not in the result: the index names them.
 * @throws ModelError `model.files` when the repository has no weights that Fettle reads
 */
export function chooseFiles(repository: string, paths: readonly string[], file?: string): string[] {
  if (file !== undefined) {
    if (paths.includes(file)) return [file]
    throw refused(repository, `has no file ${file}`, `its .gguf files are: ${paths.filter(p => p.endsWith('.gguf')).join(', ') || 'none'}`, paths)
  }
  const weights = paths.includes('model.safetensors') ? 'model.safetensors' : paths.includes(indexFile) ? indexFile : undefined
  if (weights && paths.includes('config.json')) return [...besides.filter(p => paths.includes(p)), weights]
  const gguf = paths.filter(p => p.endsWith('.gguf'))
  if (gguf.length === 1) return gguf
  if (gguf.length > 1) throw refused(repository, `has ${gguf.length} .gguf files`, `name one of them, such as ${repository}/${gguf[0]} (there are ${gguf.join(', ')})`, paths)
  if (paths.includes('adapter_config.json')) throw refused(repository, 'is an adapter, not a model', 'give its base model', paths)
  if (weights) throw refused(repository, 'has weights but no config.json', 'give the repository of the model itself', paths)
  const pickled = paths.find(p => /^pytorch_model.*\.bin$/.test(p))
  if (pickled) throw refused(repository, `has its weights in ${pickled} only`, 'give a repository with safetensors, or convert the model', paths)
  throw refused(repository, 'has no model.safetensors and no .gguf file', 'give the repository of a language model', paths)
}

/** Shards that a downloaded index names. @throws ModelError `model.files` when the repository lacks one */
export function shardsOf(repository: string, indexPath: string, paths: ReadonlySet<string>): string[] {
  const map = readJsonObject(indexPath).weight_map
  const shards = [...new Set(Object.values((map ?? {}) as Record<string, string>))]
  const missing = shards.find(shard => !paths.has(shard))
  if (missing === undefined) return shards
  throw refused(repository, `lacks ${missing}, which its index names`, 'report it to the owner of the repository, or give another revision', [...paths])
}

function refused(repository: string, seen: string, remedy: string, paths: readonly string[]): ModelError {
  return new ModelError('model.files', `${repository}: ${seen}; ${remedy}`, { repository, files: [...paths] })
}
