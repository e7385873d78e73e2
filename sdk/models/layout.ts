import type { Architecture, LinearSpec, NameMap, Role } from './architecture'

/** One stored tensor and the checkpoint's tensors that are its rows, top to bottom. */
export interface StoredWeight {
  /** Where it lives in the decoder, such as `3.qkv.weight`. */
  readonly key: string
  readonly shape: readonly number[]
  readonly decay: boolean
  readonly parts: readonly { readonly name: string; readonly rows: number; readonly role: Role }[]
}

export const linearPlaces = ['qkv', 'out', 'up', 'down'] as const
export type LinearPlace = (typeof linearPlaces)[number]

/** A linear layer and its key, such as `3.qkv` or `projectIn`: weights are stored under `KEY.weight` and `KEY.bias`. */
export interface KeyedLinear { readonly key: string; readonly spec: LinearSpec }

const replicate: Role = { kind: 'replicate', unit: 1 }

/** The projections between the embedding's width and the hidden size, where they differ. */
export function projections({ embedding, hiddenSize }: Architecture, names: NameMap): { readonly projectIn: LinearSpec; readonly projectOut: LinearSpec } | null {
  if (embedding.dim === hiddenSize) return null
  const spec = (name: string | undefined, inFeatures: number, rows: number): LinearSpec => ({ parts: [{ name: name as string, rows, role: replicate }], inFeatures, bias: false })
  return { projectIn: spec(names.projectIn, embedding.dim, hiddenSize), projectOut: spec(names.projectOut, hiddenSize, embedding.dim) }
}

/** Every linear layer but the head, in the order of the forward pass. */
export function linearSpecs(architecture: Architecture, names: NameMap): KeyedLinear[] {
  const between = projections(architecture, names)
  const layers = Array.from({ length: architecture.layers }, (_, i) => {
    const layer = names.layer(i)
    return linearPlaces.map((place): KeyedLinear => ({ key: `${i}.${place}`, spec: layer[place] }))
  }).flat()
  return between === null ? layers : [{ key: 'projectIn', spec: between.projectIn }, ...layers, { key: 'projectOut', spec: between.projectOut }]
}

/** Every weight that the record and the name map ask for, in the order of the forward pass. */
export function storedWeights(architecture: Architecture, names: NameMap): StoredWeight[] {
  const { vocabSize, hiddenSize, embedding, norm, positions, headDim } = architecture
  const between = projections(architecture, names)
  const matrix = (key: string, module: string, shape: readonly number[], role: Role): StoredWeight =>
    ({ key, shape, decay: true, parts: [{ name: `${module}.weight`, rows: shape[0], role }] })
  const vocabulary = (key: string, module: string): StoredWeight => matrix(key, module, [vocabSize, embedding.dim], { kind: 'vocab', unit: 1 })
  const normWeights = (key: string, module: string, width = hiddenSize, bias = norm.bias): StoredWeight[] => (bias ? ['weight', 'bias'] : ['weight']).map((kind) =>
    ({ key: `${key}.${kind}`, shape: [width], decay: false, parts: [{ name: `${module}.${kind}`, rows: width, role: replicate }] }))
  const all = [vocabulary('embedding', names.embedding)]
  if (between !== null) all.push(...linearWeights('projectIn', between.projectIn))
  if (positions.kind === 'learned') all.push(matrix('positions', names.positionEmbedding as string, [positions.rows, hiddenSize], replicate))
  if (embedding.norm) all.push(...normWeights('embeddingNorm', names.embeddingNorm as string))
  for (let i = 0; i < architecture.layers; i++) {
    const layer = names.layer(i)
    all.push(...normWeights(`${i}.inputNorm`, layer.inputNorm), ...linearWeights(`${i}.qkv`, layer.qkv))
    if (architecture.queryKeyNorm) all.push(...normWeights(`${i}.queryNorm`, layer.queryNorm as string, headDim), ...normWeights(`${i}.keyNorm`, layer.keyNorm as string, headDim))
    const outer = (key: string, module: string | undefined): StoredWeight[] => (architecture.order.norm === 'both' ? normWeights(key, module as string) : [])
    all.push(
      ...linearWeights(`${i}.out`, layer.out), ...outer(`${i}.outNorm`, layer.outNorm), ...normWeights(`${i}.postNorm`, layer.postNorm),
      ...linearWeights(`${i}.up`, layer.up), ...linearWeights(`${i}.down`, layer.down), ...outer(`${i}.downNorm`, layer.downNorm),
    )
  }
  if (architecture.finalNorm) all.push(...normWeights('finalNorm', names.finalNorm))
  if (between !== null) all.push(...linearWeights('projectOut', between.projectOut))
  if (!architecture.tiedHead) all.push(vocabulary('head', names.head))
  return all
}

function linearWeights(key: string, spec: LinearSpec): StoredWeight[] {
  const rows = outFeatures(spec)
  const weight: StoredWeight = { key: `${key}.weight`, shape: [rows, spec.inFeatures], decay: true, parts: spec.parts.map((p) => ({ ...p, name: `${p.name}.weight` })) }
  if (!spec.bias) return [weight]
  // A bias after a row-cut matrix is added once, so that every rank holds all of it.
  const bias = spec.parts.map((p) => ({ name: `${p.name}.bias`, rows: p.rows, role: p.role.kind === 'row' ? replicate : p.role }))
  return [weight, { key: `${key}.bias`, shape: [rows], decay: false, parts: bias }]
}

export function outFeatures(spec: LinearSpec): number { return spec.parts.reduce((sum, part) => sum + part.rows, 0) }
