import { noGrad, scope } from 'fettle-native'
import { openWeights, type LazyTensor } from '../models/weights'
import type { Precision } from '../plan/plan'
import { sourceOf, writeModelFolder } from './folder'
import { refuseInputs, savedType } from './output'

/** What is converted, where it goes and as what. */
export interface ConvertOptions {
  /** Folder or .gguf file of the model, on this machine. */
  readonly model: string
  /** Folder that gets the converted model. */
  readonly output: string
  /** Number type of the weights. Default: their own; bf16 for quantised (GGUF) weights. */
  readonly dtype?: Precision
  /** Bytes of a shard; above them the weights go into several files. Default 5e9. */
  readonly maxShardBytes?: number
  /** Called before each weight is written. */
  readonly onProgress?: (progress: { readonly name: string; readonly done: number; readonly total: number }) => void
}

/**
 * Writes a model of any kind that Fettle reads (pickled weights, PaddleNLP's layout, GGUF) as a Hugging Face folder with
 * safetensors, configuration and tokenizer. Weights are read and written one after the other; without `dtype` their
 * bytes stay as they are. Returns the names of the files.
 * @throws ModelError `model.*`; PlanError `output.folder` when the output would overwrite its input
 */
export function convertModel({ model, output, dtype, maxShardBytes, onProgress }: ConvertOptions): string[] {
  const weights = openWeights(model)
  try {
    refuseInputs(output, [weights.path], 'the converted model')
    const names = weights.names(), type = savedType(weights, dtype)
    let done = 0
    const tensors = names.map((name): [string, LazyTensor] => {
      const { shape, dtype: own } = weights.info(name)
      // Counters and masks that some files hold beside their weights stay whole numbers.
      const kept = type === undefined || !own.includes('float') ? own : type
      return [name, { shape, dtype: kept, make: () => {
        onProgress?.({ name, done: done++, total: names.length })
        return weights.read(name, { dtype: kept })
      } }]
    })
    return noGrad(() => scope(() => writeModelFolder(output, {
      config: weights.config, generationConfig: weights.generationConfig, tokenizerSource: sourceOf(weights), tensors: new Map(tensors), maxShardBytes,
    })))
  } finally {
    weights.close()
  }
}
