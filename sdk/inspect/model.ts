import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Architecture, NameMap } from '../models/architecture'
import { familyOf } from '../models/families'
import { fileNameOf } from '../models/file-names'
import { storedWeights } from '../models/layout'
import { openWeights, readGguf, resolveModel, type ResolveOptions, type Weights } from '../models/weights'
import { formatOf, weightFiles } from '../models/weights/hugging-face'
import { paddleFiles } from '../models/weights/paddle'
import { PartWeights } from '../models/weights/parts'
import type { LoraOptions } from '../plan/options'
import type { Plan } from '../plan/plan'
import { modelView, type TextAndHtml } from '../views/objects'
import { countParts, trainableShare } from './count'
import { Shown } from './shown'
import { Draft, planOf, type PlanSource } from './source'
import type { ModelFacts, StoredType } from './types'

/** Options of {@link model}; all optional. */
export interface ModelInfoOptions extends ResolveOptions {
  /** Counts what a LoRA adapter with these options would train; `{}`: with the defaults. Only beside a model's name. Default: nothing is said to train. */
  readonly lora?: LoraOptions
}

/** A model as its configuration and the headers of its weight files describe it. As a cell's last value it shows a table. */
export interface ModelInfo extends ModelFacts {}
// The fields are those of ModelFacts, said once.
export class ModelInfo extends Shown {
  /** @internal Use `model(name)`. */
  constructor(facts: ModelFacts) {
    super()
    Object.assign(this, facts)
    Object.freeze(this)
  }

  protected override view(): TextAndHtml { return modelView(this) }
}

/**
 * Describes a model: layers, sizes, parameters of each part, number types, bytes on disk, and what would train. Reads
 * headers only; a model that is not on this machine is fetched first, as for a run.
 *
 * ```ts
 * await model('builtin:smollm2-135m', { lora: { rank: 8 } })
 * ```
 *
 * @param source A model's name (local folder, GGUF file, hub repository, `builtin:smollm2-135m`), or a builder, run or plan: then what it would train is counted.
 * @throws ModelError for a model that is not found, broken, or of an unknown family
 */
export async function model(source: string | PlanSource, options: ModelInfoOptions = {}): Promise<ModelInfo> {
  if (typeof source !== 'string') {
    const plan = planOf(source, 'model')
    return describe(plan.model, plan, options)
  }
  const lora = options.lora === undefined ? null : new Draft(source || 'model').lora(options.lora).plan.lora
  return describe(source, lora && { lora, prefix: null }, options)
}

/** @param trains what of the model; `null`: nothing says */
async function describe(name: string, trains: Pick<Plan, 'lora' | 'prefix'> | null, options: ResolveOptions): Promise<ModelInfo> {
  const weights = openWeights(await resolveModel(name, options))
  try {
    const family = familyOf(weights.config)
    const a = family.architecture(weights.config)
    const names = family.names(a)
    const parts = countParts(a, names)
    const parameters = parts.reduce((sum, part) => sum + part.parameters, 0)
    return new ModelInfo({
      name, path: weights.path, format: weights.kind, family: a.family, layers: a.layers, hiddenSize: a.hiddenSize, intermediateSize: a.intermediateSize,
      heads: a.heads, kvHeads: a.kvHeads, headDim: a.headDim, vocabSize: a.vocabSize, contextLength: a.maxPositions, tiedHead: a.tiedHead,
      parameters, parts, types: storedTypes(weights), bytes: filesOf(weights).reduce((sum, file) => sum + statSync(file).size, 0),
      trainable: trains ? trainableShare(trains, a, names, parameters) : null, warnings: faults(weights, a, names),
    })
  } finally {
    weights.close()
  }
}

function filesOf(weights: Weights): string[] {
  if (weights.kind === 'gguf') return [weights.path]
  if (weights instanceof PartWeights) return weights.joined.paths
  const format = formatOf(weights.path)
  return (format === undefined ? paddleFiles(weights.path) : weightFiles(weights.path, format)).map((name) => join(weights.path, name))
}

/** A GGUF file tells its own types; behind `Weights` they are already those that a read gives. */
function storedTypes(weights: Weights): StoredType[] {
  const all = weights.kind === 'gguf'
    ? [...readGguf(weights.path).tensors.values()].map(({ type, shape }) => ({ name: type.name, shape }))
    : weights.names().map((name) => ({ name: weights.info(name).dtype as string, shape: weights.info(name).shape }))
  const types = new Map<string, StoredType>()
  for (const { name, shape } of all) {
    const { tensors, parameters } = types.get(name) ?? { tensors: 0, parameters: 0 }
    types.set(name, { name, tensors: tensors + 1, parameters: parameters + shape.reduce((a, b) => a * b, 1) })
  }
  return [...types.values()].sort((a, b) => b.parameters - a.parameters)
}

/** Weights that the configuration asks for and the files lack, or have in another shape. Loading would refuse them. */
function faults(weights: Weights, architecture: Architecture, names: NameMap): string[] {
  const wanted = storedWeights(architecture, names).flatMap(({ shape, parts }) => parts.map(({ name, rows }) => ({ name, shape: [rows, ...shape.slice(1)] })))
  const found = wanted.map((part) => ({ ...part, file: fileNameOf(weights, names.body, part.name) }))
  const missing = found.filter(({ file }) => file === undefined)
  const odd = found.filter(({ file, shape }) => file !== undefined && weights.info(file).shape.join() !== shape.join())
  return [
    ...(missing.length > 0 ? [`${missing.length} of ${wanted.length} weights are missing, first ${missing[0].name}: download the model again`] : []),
    ...(odd.length > 0 ? [`${odd.length} weights have another shape than config.json says, first ${odd[0].name}: config.json and weights are of different models`] : []),
  ]
}
