import * as path from 'node:path'
import { ops, scope } from 'fettle-native'
import type { Parameters } from '../models/parameters'
import { openWeights, writeJsonAtomically, type LazyTensor, type TensorInfo } from '../models/weights'
import { JoinedParts, masterName, partsIndexName, stateStem, type PartsIndex } from '../models/weights/parts'
import { sourceOf, writeBesideWeights, writeModelFolder } from './folder'

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
    const tensors = new Map(inFiles(joined.names(), parameters).map(([file, name]) => [file, lazy(name)]))
    return writeModelFolder(folder, { config: base.config, generationConfig: base.generationConfig, tokenizerSource: sourceOf(base), tensors })
  } finally {
    base.close()
  }
}

/**
 * Makes a checkpoint in which all ranks have written their masters a model that can be opened: an index of the weights among
 * them, configuration and tokenizer. No weight is read or written.
 * @param modelPath folder or .gguf file that the model was read from
 */
export function describeParts(parameters: Parameters, modelPath: string, folder: string, ranks: number): void {
  const base = openWeights(modelPath), joined = new JoinedParts(folder, stateStem, ranks), prefix = masterName('')
  try {
    const names = joined.names().flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []))
    const files = inFiles(names, parameters), { dtype } = parameters
    const tensors = new Map(files.map(([file, name]): [string, TensorInfo] => [file, { dtype, shape: joined.shape(masterName(name))! }]))
    writePartsIndex(folder, { version: 1, ranks, dtype, tensors: Object.fromEntries(files) })
    writeBesideWeights(folder, { config: base.config, generationConfig: base.generationConfig, tokenizerSource: sourceOf(base), tensors })
  } finally {
    joined.close()
    base.close()
  }
}

/** Writes `model.parts.json`. */
export function writePartsIndex(folder: string, index: PartsIndex): void { writeJsonAtomically(path.join(folder, partsIndexName), index) }

/** Weights by the names that the model's own files give them, those twice that stand there twice. */
function inFiles(names: readonly string[], parameters: Parameters): (readonly [file: string, name: string])[] {
  return [...names.map((name) => [parameters.fileName(name), name] as const), ...parameters.copies]
}
