import { loraConfig, rankOf, type LoraConfig } from '../adapters/lora-config'
import { ModelError } from '../errors'
import type { Architecture, NameMap } from '../models/architecture'
import { linearSpecs, storedWeights } from '../models/layout'
import type { LoraPlan } from '../plan/plan'
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
export function trainableShare(lora: LoraPlan | null, architecture: Architecture, names: NameMap, own: number): TrainableShare {
  if (lora === null) return { method: 'sft', parameters: own, of: own, share: 1 }
  const parameters = countLora(loraConfig({ rank: lora.rank, alpha: lora.alpha, dropout: lora.dropout, targets: lora.targets }), architecture, names)
  return { method: 'lora', parameters, of: own + parameters, share: parameters / (own + parameters) }
}

/** Values of a new adapter: A [rank, in] and B [out, rank] for each module. @throws ModelError `lora.target` */
function countLora(config: LoraConfig, architecture: Architecture, names: NameMap): number {
  const { targets } = config
  const hits = (target: string, module: string): boolean => module === target || module.endsWith(`.${target}`)
  const sites = linearSpecs(architecture, names).flatMap(({ spec: { parts, inFeatures } }) => parts.map(({ name, rows }) => ({ module: name, rows, inFeatures })))
  if (targets !== 'all-linear') {
    const unknown = targets.filter((target) => !sites.some(({ module }) => hits(target, module)))
    if (unknown.length > 0) {
      const known = [...new Set(sites.map(({ module }) => module.slice(module.lastIndexOf('.') + 1)))]
      throw new ModelError('lora.target', `expected "all-linear" or some of ${known.join(', ')} as LoRA targets, got ${unknown.join(', ')}`, { unknown, known })
    }
  }
  const chosen = targets === 'all-linear' ? sites : sites.filter(({ module }) => targets.some((target) => hits(target, module)))
  return chosen.reduce((sum, { module, rows, inFeatures }) => sum + rankOf(config, module) * (rows + inFeatures), 0)
}
