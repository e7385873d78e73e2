import type { Architecture, Family } from '../models/architecture'
import { families } from '../models/families'
import { linearSpecs, storedWeights } from '../models/layout'
import { runMemory } from '../models/memory'
import { publishedModels, type PublishedModel } from '../models/published'
import { defaultLora } from '../plan/defaults'
import type { Plan } from '../plan/plan'
import { trainingMethods } from '../plan/rules'
import { trainableShare } from './count'

/** A published checkpoint with what it takes to fine-tune it. Sizes in bytes. */
export interface CatalogModel {
  /** Repository on the Hugging Face hub: what `sft()` and `fettle run` take for the model's name. */
  readonly repository: string
  readonly parameters: number
  /** Its repository has pickled weights only; they are read as data. */
  readonly pickled: boolean
  /** Weights at two bytes a value: about what is downloaded. */
  readonly download: number
  /** LoRA of rank 8 on every Linear layer, in bf16, on `catalogTokens` tokens a batch. */
  readonly loraMemory: number
  /** All weights, in bf16 with fp32 masters, on as many. */
  readonly sftMemory: number
}

/** A family that Fettle fine-tunes. */
export interface CatalogFamily {
  readonly family: string
  readonly title: string
  /** What kind of decoder it is, in a few words each. */
  readonly structure: readonly string[]
  /** Methods that train it. */
  readonly methods: readonly Plan['method'][]
  /** Linear layers that an adapter may change, by the end of their names. */
  readonly adaptable: readonly string[]
  readonly models: readonly CatalogModel[]
}

/** Tokens of the batch that memory is told for: one row, or several short ones. */
export const catalogTokens = 1024

/** Every family that is supported, from the records themselves. */
export function catalog(): CatalogFamily[] {
  return families.map((family) => {
    const published = publishedModels.filter((model) => model.family === family.name)
    return { family: family.name, title: family.title, structure: structureOf(family.architecture({ ...published[0].config })), methods: trainingMethods, adaptable: adaptable(family, published), models: published.map((model) => describe(family, model)) }
  })
}

function adaptable(family: Family, published: readonly PublishedModel[]): string[] {
  const modules = published.flatMap(({ config }) => {
    const a = family.architecture({ ...config })
    return linearSpecs(a, family.names(a)).flatMap(({ spec }) => spec.parts.map(({ name }) => name.slice(name.lastIndexOf('.') + 1)))
  })
  return [...new Set(modules)]
}

function describe(family: Family, { repository, config, pickled = false }: PublishedModel): CatalogModel {
  const a = family.architecture({ ...config }), names = family.names(a)
  const parameters = storedWeights(a, names).reduce((sum, { shape }) => sum + shape.reduce((x, y) => x * y, 1), 0)
  const step = { tokens: catalogTokens, longest: catalogTokens, bytesPerValue: 2, recompute: false, parameters }
  const adapter = trainableShare({ lora: defaultLora, prefix: null }, a, names, parameters).parameters
  return {
    repository, parameters, pickled, download: 2 * parameters,
    loraMemory: runMemory(a, { ...step, trainable: adapter, adapter: true }), sftMemory: runMemory(a, { ...step, trainable: parameters, adapter: false }),
  }
}

const positionWords: Readonly<Record<Architecture['positions']['kind'], string>> = { rotary: 'rotary positions', learned: 'learned positions', alibi: 'ALiBi' }
const activationWords: Readonly<Record<Architecture['mlp']['activation'], string>> = { silu: 'SiLU', gelu: 'GELU', gelu_tanh: 'GELU (tanh)', relu: 'ReLU' }

function structureOf(a: Architecture): string[] {
  const { positions } = a
  const part = positions.kind === 'rotary' && positions.dim < a.headDim ? ` on ${positions.dim} of ${a.headDim}` : ''
  const pairs = positions.kind !== 'rotary' ? '' : positions.axes === 2 ? ', two axes' : positions.layout === 'interleaved' ? ', neighbours' : ''
  return [
    a.norm.kind === 'rms' ? 'RMS norm' : 'layer norm', `${positionWords[positions.kind]}${part}${pairs}`,
    a.prompt !== null ? 'prompt seen whole' : a.window !== null ? 'sliding window' : 'causal',
    ...(a.kvHeads === a.heads ? [] : ['grouped heads']),
    `${a.mlp.kind === 'gated' ? 'gated ' : ''}${activationWords[a.mlp.activation]} MLP`, a.tiedHead ? 'tied head' : 'own head',
    ...(a.queryKeyNorm ? ['norms of queries and keys'] : []), ...(a.logn !== null ? ['logn attention'] : []), ...(a.embedding.norm ? ['embedding norm'] : []),
  ]
}
