import type { Architecture, LayerSpec, LinearSpec, NameMap, Role } from './architecture'

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

const replicate: Role = { kind: 'replicate', unit: 1 }

/** Every weight that the record and the name map ask for, in the order of the forward pass. */
export function storedWeights(architecture: Architecture, names: NameMap): StoredWeight[] {
  const { vocabSize, hiddenSize, norm } = architecture
  const vocabulary = (key: string, module: string): StoredWeight =>
    ({ key, shape: [vocabSize, hiddenSize], decay: true, parts: [{ name: `${module}.weight`, rows: vocabSize, role: { kind: 'vocab', unit: 1 } }] })
  const normWeights = (key: string, module: string): StoredWeight[] => (norm.bias ? ['weight', 'bias'] : ['weight']).map((kind) =>
    ({ key: `${key}.${kind}`, shape: [hiddenSize], decay: false, parts: [{ name: `${module}.${kind}`, rows: hiddenSize, role: replicate }] }))
  const all = [vocabulary('embedding', names.embedding)]
  for (let i = 0; i < architecture.layers; i++) {
    const layer: LayerSpec = names.layer(i)
    all.push(
      ...normWeights(`${i}.inputNorm`, layer.inputNorm), ...linearWeights(`${i}.qkv`, layer.qkv), ...linearWeights(`${i}.out`, layer.out),
      ...normWeights(`${i}.postNorm`, layer.postNorm), ...linearWeights(`${i}.up`, layer.up), ...linearWeights(`${i}.down`, layer.down),
    )
  }
  all.push(...normWeights('finalNorm', names.finalNorm))
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
