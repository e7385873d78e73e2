import { ops, scope } from 'fettle-native'
import type { Parameters } from '../models/parameters'
import { openWeights, type LazyTensor } from '../models/weights'
import type { JoinedParts } from '../parallel/parts'
import { sourceOf, writeModelFolder } from './folder'

/**
 * Writes a model folder from what ranks wrote of its weights: in the number type that it computes in, under the names of the
 * checkpoint that it was read from, one tensor at a time.
 * @param modelPath folder or .gguf file that the model was read from
 * @returns names of the files
 */
export function writeMergedFolder(joined: JoinedParts, parameters: Parameters, modelPath: string, folder: string): string[] {
  const base = openWeights(modelPath)
  try {
    const lazy = (name: string): LazyTensor => ({ dtype: parameters.dtype, shape: joined.shape(name)!, make: () => scope(() => ops.to(joined.read(name), { dtype: parameters.dtype })) })
    const tensors = new Map(joined.names().map((name) => [parameters.fileName(name), lazy(name)]))
    for (const [copy, of] of parameters.copies) tensors.set(copy, lazy(of))
    return writeModelFolder(folder, { config: base.config, generationConfig: base.generationConfig, tokenizerSource: sourceOf(base), tensors })
  } finally {
    base.close()
  }
}
