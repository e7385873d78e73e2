import { adapterFile, adapterShapes } from '../adapters/adapter-files'
import { prefixToGoOn } from '../adapters/kind'
import { loraConfigOf, rankOf, type LoraConfig } from '../adapters/lora-config'
import { prefixConfigOf, prefixWeights } from '../adapters/prefix-config'
import { chooseTargets } from '../adapters/targets'
import type { Architecture, NameMap } from '../models/architecture'
import { linearSpecs, storedWeights } from '../models/layout'
import type { Plan } from '../plan/plan'
import type { ModelPart, TrainableShare } from './types'

const partOf: Readonly<Record<string, ModelPart['name']>> = {
  embedding: 'embedding', head: 'head', qkv: 'attention', out: 'attention', up: 'MLP', down: 'MLP', inputNorm: 'norms', postNorm: 'norms', finalNorm: 'norms',
  positions: 'embedding', projectIn: 'embedding', projectOut: 'head', embeddingNorm: 'norms', queryNorm: 'norms', keyNorm: 'norms', outNorm: 'norms', downNorm: 'norms',
}

/** Values of each part, from the record of the architecture alone. */
export function countParts(architecture: Architecture, names: NameMap): ModelPart[] {
  const counts = new Map<ModelPart['name'], number>([['embedding', 0], ['attention', 0], ['MLP', 0], ['norms', 0], ['head', 0]])
  for (const { key, shape } of storedWeights(architecture, names)) {
    const place = key.replace(/^\d+\./, '').split('.')[0]
    const part = partOf[place]
    counts.set(part, counts.get(part)! + shape.reduce((a, b) => a * b, 1))
  }
  return [...counts].map(([name, parameters]) => ({ name, parameters }))
}

/** What trains of a model with `own` values: all of them, or an adapter's. */
export function trainableShare({ lora, prefix }: Pick<Plan, 'lora' | 'prefix'>, architecture: Architecture, names: NameMap, own: number): TrainableShare {
  if (prefix !== null) {
    const parameters = prefixWeights(architecture, prefix.from === null ? prefixConfigOf(prefix, architecture) : prefixToGoOn(prefix, prefix.from).config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
    return { method: 'prefix', parameters, of: own + parameters, share: parameters / (own + parameters) }
  }
  if (lora === null) return { method: 'sft', parameters: own, of: own, share: 1 }
  const parameters = lora.from === null ? countLora(loraConfigOf(lora), architecture, names) : countSaved(lora.from)
  return { method: 'lora', parameters, of: own + parameters, share: parameters / (own + parameters) }
}

/** Values of a saved adapter, by the header of its file. */
function countSaved(folder: string): number {
  return [...adapterShapes(adapterFile(folder)).values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0)
}

/** Values of a new adapter: A [rank, in] and B [out, rank] for each module, with DoRA a length for each row. @throws ModelError `lora.target` */
function countLora(config: LoraConfig, architecture: Architecture, names: NameMap): number {
  const sites = linearSpecs(architecture, names).flatMap(({ spec: { parts, inFeatures } }) => parts.map(({ name, rows }) => ({ module: name, rows, inFeatures })))
  const chosen = new Set(chooseTargets(config.targets, sites.map(({ module }) => module)))
  return sites.filter(({ module }) => chosen.has(module))
    .reduce((sum, { module, rows, inFeatures }) => sum + rankOf(config, module) * (rows + inFeatures) + (config.decomposed ? rows : 0), 0)
}
