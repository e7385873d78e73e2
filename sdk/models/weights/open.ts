import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ModelError } from '../../errors'
import { GgufWeights } from './gguf'
import { formatOf, HuggingFaceWeights, type FolderFormat } from './hugging-face'
import { readJsonObject } from './json'
import { paddleFiles, paddleRanks, PaddleWeights, speaksPaddle } from './paddle'
import { partsIndexName, PartWeights } from './parts'
import { PickleFile } from './pickle'
import type { TensorFile, Weights } from './types'

/**
 * Opens a Hugging Face folder (model.safetensors or pytorch_model.bin, or an index and shards), a folder in PaddleNLP's
 * layout, a checkpoint that several ranks wrote, or a .gguf file; a folder that holds nothing but one .gguf file stands for that file. Reads headers only.
 * @throws ModelError naming the file, what was seen and what to do
 */
export function openWeights(path: string): Weights {
  const { place, kind } = locate(path)
  if (kind === 'gguf') return new GgufWeights(place)
  if (kind === 'paddle') return openPaddle(place)
  if (kind === 'parts') return new PartWeights(place)
  const weights = new HuggingFaceWeights(place, kind)
  return speaksPaddle(weights.config, weights.names()) ? new PaddleWeights(place, [joined([weights])], weights.config) : weights
}

function openPaddle(folder: string): Weights {
  const ranks = paddleRanks(folder, paddleFiles(folder))
  return new PaddleWeights(folder, ranks.map((files) => {
    const opened = files.map((file) => new PickleFile(join(folder, file)))
    return joined(opened.map((file) => ({ names: () => [...file.tensors.keys()], info: (name) => file.tensors.get(name)!, read: (name) => file.read(name), close: () => file.close() })))
  }), readJsonObject(join(folder, 'config.json')))
}

/** Several sources of tensors as one file. */
function joined(sources: readonly Pick<Weights, 'names' | 'info' | 'read' | 'close'>[]): TensorFile {
  const home = new Map(sources.flatMap((source) => source.names().map((name) => [name, source] as const)))
  return {
    tensors: new Map([...home].map(([name, source]) => [name, source.info(name)])),
    read: (name) => home.get(name)!.read(name),
    close: () => { for (const source of sources) source.close() },
  }
}

/** The folder or .gguf file that `path` stands for. @throws ModelError `model.path` when there are no weights that Fettle reads. */
export function locateWeights(path: string): string { return locate(path).place }

/** A folder or a .gguf file, and what its weights are in. */
interface Location { readonly place: string; readonly kind: 'gguf' | 'paddle' | 'parts' | FolderFormat }

function locate(path: string): Location {
  if (!existsSync(path)) throw new ModelError('model.path', `${path}: does not exist; give a model folder or a .gguf file`, { path })
  if (statSync(path).isDirectory()) return locateInFolder(path)
  if (path.endsWith('.gguf')) return { place: path, kind: 'gguf' }
  if (/(^|[/\\])model(-\d+-of-\d+)?\.safetensors$|(^|[/\\])pytorch_model(-\d+-of-\d+)?\.bin$|(^|[/\\])model_state[^/\\]*\.pdparams$/.test(path)) return locateInFolder(dirname(path))
  throw new ModelError('model.path', `${path}: is neither a model folder nor a .gguf file; give the folder that holds config.json and the weights`, { path })
}

function locateInFolder(folder: string): Location {
  const format = formatOf(folder)
  if (format !== undefined) return { place: folder, kind: format }
  if (paddleFiles(folder).length > 0) return { place: folder, kind: 'paddle' }
  if (existsSync(join(folder, partsIndexName))) return { place: folder, kind: 'parts' }
  const files = readdirSync(folder)
  const gguf = files.filter(f => f.endsWith('.gguf'))
  if (gguf.length === 1) return { place: join(folder, gguf[0]), kind: 'gguf' }
  const details = { path: folder, files }
  if (gguf.length > 1) throw new ModelError('model.path', `${folder}: has ${gguf.length} .gguf files; give one of them: ${gguf.join(', ')}`, details)
  if (files.includes('adapter_config.json')) throw new ModelError('model.path', `${folder}: is an adapter, not a model; give the base model, and the adapter beside it`, details)
  throw new ModelError('model.path', `${folder}: has no model.safetensors, pytorch_model.bin, model_state.pdparams, index of shards or .gguf file (it has ${files.slice(0, 8).join(', ') || 'nothing'}); give a model folder`, details)
}
