import * as fs from 'node:fs'
import * as path from 'node:path'
import { noGrad, ops, scope, type DType, type Tensor } from 'fettle-native'
import { rankOf, scaleOf, type LoraConfig } from '../adapters/lora-config'
import { readLoraConfig } from '../adapters/peft'
import { ModelError, PlanError } from '../errors'
import { openWeights, readSafetensors, type LazyTensor, type Weights } from '../models/weights'
import { sourceOf, writeModelFolder } from './folder'

/** Base, adapter and where the merged model goes. */
export interface MergeOptions {
  /** Folder or .gguf file of the base model, on this machine. */
  readonly model: string
  /** Folder of the adapter in PEFT's layout. */
  readonly adapter: string
  /** Folder that gets the merged model. */
  readonly output: string
  /** Number type of the merged weights. Default: the base's own; bf16 for quantised (GGUF) weights. */
  readonly dtype?: 'fp32' | 'bf16'
  /** Called before each weight is written. */
  readonly onProgress?: (progress: { readonly name: string; readonly done: number; readonly total: number }) => void
}

/** The adapter's part of one weight. */
interface Delta { readonly a: Tensor; readonly b: Tensor; readonly magnitude: Tensor | undefined; readonly scale: number }

/**
 * Merges a LoRA, rsLoRA or DoRA adapter into its base: a Hugging Face folder whose answers are those of base and adapter
 * together. Weights are read, merged in fp32, rounded once and written one after the other, so that memory holds one
 * at a time whatever the size of the model. Returns the names of the files.
 * @throws ModelError `lora.*`, `model.*`; PlanError `merge.output` when the output would overwrite its inputs
 */
export function mergeLora({ model, adapter, output, dtype, onProgress }: MergeOptions): string[] {
  const base = openWeights(model)
  try {
    refuseInputs(output, [base.path, adapter])
    const { config } = readLoraConfig(adapter)
    return noGrad(() => scope(() => {
      const deltas = readDeltas(adapter, config, base)
      const names = base.names(), type = outputType(base, dtype)
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

function outputType(base: Weights, dtype: MergeOptions['dtype']): DType | undefined {
  if (dtype === undefined) return base.kind === 'gguf' ? 'bfloat16' : undefined
  return dtype === 'bf16' ? 'bfloat16' : 'float32'
}

/** W' = W + s·BA; DoRA then scales each row to its magnitude (arXiv 2106.09685, 2402.09353). */
function merged(base: Weights, name: string, delta: Delta | undefined, dtype: DType | undefined): Tensor {
  if (delta === undefined) return base.read(name, { dtype })
  let wide = ops.add(base.read(name, { dtype: 'float32' }), ops.mm(delta.b, delta.a), { alpha: delta.scale })
  if (delta.magnitude !== undefined) wide = ops.mul(wide, ops.unsqueeze(ops.div(delta.magnitude, ops.linalg_vector_norm(wide, 2, [1])), 1))
  return ops.to(wide, { dtype: dtype ?? base.info(name).dtype })
}

/** What the adapter adds, by the base's names of the weights. */
function readDeltas(folder: string, config: LoraConfig, base: Weights): Map<string, Delta> {
  const file = path.join(folder, 'adapter_model.safetensors')
  if (!fs.existsSync(file)) throw new ModelError('lora.files', `expected adapter_model.safetensors in ${folder}, found none; adapters saved as pickles must be saved again with safe_serialization`, { folder })
  const state = readSafetensors(file)
  const deltas = new Map<string, Delta>()
  for (const [key, a] of state) {
    const module = /^base_model\.model\.(.+)\.lora_A\.weight$/.exec(key)?.[1]
    if (module === undefined) {
      if (/\.lora_(B\.weight|magnitude_vector)$/.test(key)) continue
      throw new ModelError('lora.kind', `${file} holds ${key}, which is not a LoRA of a linear layer; supported are LoRA, rsLoRA and DoRA on linear layers`, { file, name: key })
    }
    const name = baseName(base, module), part = (kind: string): Tensor | undefined => state.get(`base_model.model.${module}.${kind}`)
    const b = part('lora_B.weight'), magnitude = part('lora_magnitude_vector')
    check(base, name, module, config, { a, b, magnitude })
    const wide = (tensor: Tensor): Tensor => (tensor.dtype === 'float32' ? tensor : ops.to(tensor, { dtype: 'float32' }))
    deltas.set(name, { a: wide(a), b: wide(b!), magnitude: magnitude && wide(magnitude), scale: scaleOf(config, module) })
  }
  if (deltas.size === 0) throw new ModelError('lora.files', `${file} holds no weights; save the adapter again`, { file })
  return deltas
}

/** Adapters and checkpoints name a weight with or without the `model.` of the causal-LM class. */
function baseName(base: Weights, module: string): string {
  const name = [module, `model.${module}`, module.replace(/^model\./, '')].map((candidate) => `${candidate}.weight`).find((candidate) => base.has(candidate))
  if (name !== undefined) return name
  throw new ModelError('lora.target', `the adapter changes ${module}, which ${base.path} does not have; merge it into the model that it was trained on`, { module, model: base.path })
}

function check(base: Weights, name: string, module: string, config: LoraConfig, { a, b, magnitude }: { a: Tensor; b: Tensor | undefined; magnitude: Tensor | undefined }): void {
  const [rows, columns] = base.info(name).shape, rank = rankOf(config, module)
  const fits = a.shape.join() === [rank, columns].join() && b?.shape.join() === [rows, rank].join() && (magnitude !== undefined) === config.decomposed
  if (fits) return
  throw new ModelError('lora.state', `the adapter's weights for ${module} do not fit: lora_A [${a.shape.join(', ')}], lora_B ${b ? `[${b.shape.join(', ')}]` : 'missing'}, a model weight of [${rows}, ${columns}] and rank ${rank}; the adapter is of another model, or its files are not of one save`,
    { module, a: a.shape, b: b?.shape ?? null, weight: [rows, columns], rank })
}

function refuseInputs(output: string, inputs: readonly string[]): void {
  const target = path.resolve(output)
  for (const input of inputs) {
    const folder = path.resolve(fs.statSync(input, { throwIfNoEntry: false })?.isDirectory() ? input : path.dirname(input))
    if (folder === target) throw new PlanError('merge.output', `expected a folder of its own for the merged model, got ${target}, which holds ${input}; give another output folder`, { output: target, input })
  }
}
