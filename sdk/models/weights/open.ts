import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ModelError } from '../../errors'
import { GgufWeights } from './gguf'
import { formatOf, HuggingFaceWeights } from './hugging-face'
import type { Weights } from './types'

/**
 * Opens a Hugging Face folder (model.safetensors or pytorch_model.bin, or an index and shards) or a .gguf file; a folder that holds
 * nothing but one .gguf file stands for that file. Reads headers only.
 * @throws ModelError naming the file, what was seen and what to do
 */
export function openWeights(path: string): Weights {
  const location = locateWeights(path)
  return location.endsWith('.gguf') ? new GgufWeights(location) : new HuggingFaceWeights(location)
}

/** The folder or .gguf file that `path` stands for. @throws ModelError `model.path` when there are no weights that Fettle reads. */
export function locateWeights(path: string): string {
  if (!existsSync(path)) throw new ModelError('model.path', `${path}: does not exist; give a model folder or a .gguf file`, { path })
  if (statSync(path).isDirectory()) return locateInFolder(path)
  if (path.endsWith('.gguf')) return path
  if (/(^|[/\\])model(-\d+-of-\d+)?\.safetensors$|(^|[/\\])pytorch_model(-\d+-of-\d+)?\.bin$/.test(path)) return locateInFolder(dirname(path))
  throw new ModelError('model.path', `${path}: is neither a model folder nor a .gguf file; give the folder that holds config.json and the weights`, { path })
}

function locateInFolder(folder: string): string {
  if (formatOf(folder) !== undefined) return folder
  const files = readdirSync(folder)
  const gguf = files.filter(f => f.endsWith('.gguf'))
  if (gguf.length === 1) return join(folder, gguf[0])
  const details = { path: folder, files }
  if (gguf.length > 1) throw new ModelError('model.path', `${folder}: has ${gguf.length} .gguf files; give one of them: ${gguf.join(', ')}`, details)
  if (files.includes('adapter_config.json')) throw new ModelError('model.path', `${folder}: is an adapter, not a model; give the base model, and the adapter beside it`, details)
  throw new ModelError('model.path', `${folder}: has no model.safetensors, pytorch_model.bin, index of shards or .gguf file (it has ${files.slice(0, 8).join(', ') || 'nothing'}); give a model folder`, details)
}
