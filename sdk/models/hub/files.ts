import { ModelError } from '../../errors'
import { readJsonObject } from '../weights/json'
import { isPaddleFile } from '../weights/paddle'
import { tokenizerFiles } from '../weights/tokenizer-files'

/** Weights that are taken of a repository, the best first: one file, or the index of shards. */
const weightFiles = ['model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json']

/** An index of shards among chosen files. */
export function indexAmong(files: readonly string[]): string | undefined { return files.find(file => file.endsWith('.index.json')) }

const besides = ['config.json', 'generation_config.json', ...tokenizerFiles]

/** Could a model need it? Weights anywhere, and the files beside them. */
export function isModelFile(path: string): boolean {
  return besides.includes(path) || weightFiles.includes(path) || path === 'adapter_config.json' || /\.(safetensors|bin|pdparams|gguf)$/.test(path)
}

/**
 * What to fetch of a repository: safetensors before anything else, with configuration and tokenizer; pickled weights
 * where there are no safetensors, else PaddleNLP's; else a single .gguf file. Shards are not in the result: the index names them.
 * @throws ModelError `model.files` when the repository has no weights that Fettle reads
 */
export function chooseFiles(repository: string, paths: readonly string[], file?: string): string[] {
  if (file !== undefined) {
    if (paths.includes(file)) return [file]
    throw refused(repository, `has no file ${file}`, `its .gguf files are: ${paths.filter(p => p.endsWith('.gguf')).join(', ') || 'none'}`, paths)
  }
  const weights = weightFiles.find(name => paths.includes(name))
  if (weights && paths.includes('config.json')) return [...besides.filter(p => paths.includes(p)), weights]
  const paddle = paths.filter(isPaddleFile)
  if (paddle.length > 0 && paths.includes('config.json')) return [...besides.filter(p => paths.includes(p)), ...paddle]
  const gguf = paths.filter(p => p.endsWith('.gguf'))
  if (gguf.length === 1) return gguf
  if (gguf.length > 1) throw refused(repository, `has ${gguf.length} .gguf files`, `name one of them, such as ${repository}/${gguf[0]} (there are ${gguf.join(', ')})`, paths)
  if (paths.includes('adapter_config.json')) throw refused(repository, 'is an adapter, not a model', 'give its base model', paths)
  if (weights) throw refused(repository, 'has weights but no config.json', 'give the repository of the model itself', paths)
  throw refused(repository, 'has no model.safetensors, pytorch_model.bin, model_state.pdparams or .gguf file', 'give the repository of a language model', paths)
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
