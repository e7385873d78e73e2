import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { HubError } from '../../errors'
import { tokenizerFiles } from '../../models/weights/tokenizer-files'

/** One file of a folder that goes to a hub. */
export interface UploadFile {
  /** Where it stands in the repository. */
  readonly path: string
  readonly local: string
  readonly size: number
}

const isWeights = (name: string): boolean => /\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pdparams|gguf)$/.test(name)
const besides = new Set(['config.json', 'generation_config.json', 'adapter_config.json', 'README.md', 'LICENSE', 'LICENSE.txt', ...tokenizerFiles])

/**
 * The files of a model or adapter in a folder: weights, configuration, tokenizer, card and licence. What else a run leaves
 * there (checkpoints, logs, plan, the address of its worker) stays at home.
 * @throws HubError `upload.folder` when it holds no weights
 */
export function uploadFiles(folder: string): UploadFile[] {
  const files = entries(folder).filter((name) => isWeights(name) || besides.has(name)).sort()
    .map((name) => ({ path: name, local: join(folder, name), size: statSync(join(folder, name)).size }))
  if (files.some(({ path }) => isWeights(path))) return files
  throw new HubError('upload.folder', `${folder}: holds no weights to upload (looked for *.safetensors, *.bin, *.pdparams, *.gguf); give the output folder of a run that is done, or a model folder`, { folder, found: entries(folder) })
}

/** Names of plain files. */
function entries(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile()).map(({ name }) => name)
  } catch (cause) {
    throw new HubError('upload.folder', `${folder}: cannot be read (${(cause as NodeJS.ErrnoException).code}); give the folder of a model or adapter`, { folder }, { cause })
  }
}
