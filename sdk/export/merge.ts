import { noGrad, ops, scope, type DType, type Tensor } from 'fettle-native'
import { adapterKind, refuseMerge } from '../adapters/kind'
import { mergedRows, type Delta } from '../adapters/lora'
import { rankOf, scaleOf, type LoraConfig } from '../adapters/lora-config'
import { modulesOf, readAdapterState } from '../adapters/peft'
import { ModelError } from '../errors'
import { inType } from '../models/device'
import { familyOf } from '../models/families'
import { fileNameOf } from '../models/file-names'
import { openWeights, type LazyTensor, type Weights } from '../models/weights'
import type { Precision } from '../plan/plan'
import { sourceOf, writeModelFolder } from './folder'
import { refuseInputs, savedType } from './output'

/** Base, adapter and where the merged model goes. */
export interface MergeOptions {
  /** Folder or .gguf file of the base model, on this machine. */
  readonly model: string
  /** Folder of the adapter in PEFT's layout or PaddleNLP's. */
  readonly adapter: string
  /** Folder that gets the merged model. */
  readonly output: string
  /** Number type of the merged weights. Default: the base's own; bf16 for quantised (GGUF) weights. */
  readonly dtype?: Precision
  /** Called before each weight is written. */
  readonly onProgress?: (progress: { readonly name: string; readonly done: number; readonly total: number }) => void
}

/**
 * Merges a LoRA, rsLoRA or DoRA adapter into its base: a Hugging Face folder whose answers are those of base and adapter
 * together. Weights are read, merged in fp32, rounded once and written one after the other, so that memory holds one
 * at a time whatever the size of the model. Returns the names of the files.
 * @throws ModelError `lora.*`, `prefix.merge`, `model.*`; PlanError `output.folder` when the output would overwrite its inputs
 */
export function mergeLora({ model, adapter, output, dtype, onProgress }: MergeOptions): string[] {
  if (adapterKind(adapter) === 'prefix') throw refuseMerge(adapter)
  const base = openWeights(model)
  try {
    refuseInputs(output, [base.path, adapter], 'the merged model')
    return noGrad(() => scope(() => {
      const deltas = readDeltas(adapter, base)
      const names = base.names(), type = savedType(base, dtype)
      let done = 0
      const tensors = names.map((name): [string, LazyTensor] => [name, {
        dtype: type ?? base.info(name).dtype, shape: base.info(name).shape,
        make: () => {
          onProgress?.({ name, done: done++, total: names.length })
          return merged(base, name, deltas.get(name), type)
        },
      }])
      return writeModelFolder(output, { config: base.config, generationConfig: base.generationConfig, tokenizerSource: sourceOf(base), tensors: new Map(tensors) })
    }))
  } finally {
    base.close()
  }
}

function merged(base: Weights, name: string, delta: Delta | undefined, dtype: DType | undefined): Tensor {
  if (delta === undefined) return base.read(name, { dtype })
  return ops.to(mergedRows(base.read(name, { dtype: 'float32' }), delta), { dtype: dtype ?? base.info(name).dtype })
}

/** What the adapter adds, by the base's names of the weights. */
function readDeltas(folder: string, base: Weights): Map<string, Delta> {
  const { config, tensors, path } = readAdapterState(folder)
  return new Map(modulesOf(tensors, path).map((module): [string, Delta] => {
    const name = baseName(base, module), part = (kind: string): Tensor | undefined => tensors.get(`base_model.model.${module}.${kind}`)
    const a = part('lora_A.weight'), b = part('lora_B.weight'), magnitude = part('lora_magnitude_vector')
    check(base, name, module, config, { a, b, magnitude })
    const wide = (tensor: Tensor): Tensor => inType(tensor, 'float32')
    return [name, { a: wide(a!), b: wide(b!), magnitude: magnitude ? wide(magnitude) : null, scale: scaleOf(config, module) }]
  }))
}

/** Adapters and checkpoints name a weight with or without the `model.` of the causal-LM class. */
function baseName(base: Weights, module: string): string {
  const family = familyOf(base.config), { body } = family.names(family.architecture(base.config))
  const name = fileNameOf(base, body, `${module}.weight`)
  if (name !== undefined) return name
  throw new ModelError('lora.target', `the adapter changes ${module}, which ${base.path} does not have; merge it into the model that it was trained on`, { module, model: base.path })
}

function check(base: Weights, name: string, module: string, config: LoraConfig, { a, b, magnitude }: { a: Tensor | undefined; b: Tensor | undefined; magnitude: Tensor | undefined }): void {
  const [rows, columns] = base.info(name).shape, rank = rankOf(config, module)
  const shown = (tensor: Tensor | undefined): string => (tensor ? `[${tensor.shape.join(', ')}]` : 'missing')
  const fits = a?.shape.join() === [rank, columns].join() && b?.shape.join() === [rows, rank].join() && (magnitude !== undefined) === config.decomposed
  if (fits) return
  throw new ModelError('lora.state', `the adapter's weights for ${module} do not fit: lora_A ${shown(a)}, lora_B ${shown(b)}, a model weight of [${rows}, ${columns}] and rank ${rank}; the adapter is of another model, or its files are not of one save`,
    { module, a: a?.shape ?? null, b: b?.shape ?? null, weight: [rows, columns], rank })
}
