import type { Architecture, LinearSpec, NameMap, Role } from './architecture'
import { cutOf, cutSize, wholeShare, type Cut, type Share } from './share'

/** One stored tensor and the checkpoint's tensors that are its rows, top to bottom. */
export interface StoredWeight {
  /** Where it lives in the decoder, such as `3.qkv.weight`. */
  readonly key: string
  /** On this rank. */
  readonly shape: readonly number[]
  readonly decay: boolean
  /** The layer that it belongs to; −1: before them, `layers`: behind; −2: both, on the first and the last of several stages. */
  readonly layer: number
  readonly partial: PartialGradient
  readonly parts: readonly StoredPart[]
}

/**
 * Ranks that each make a part of a weight's gradient, which is the sum of theirs: all tensor ranks of a stage, all of a model
 * (tensor ranks of all stages), or the first and the last stage. `null`: what a rank makes is its gradient.
 */
export type PartialGradient = 'tensor' | 'model' | 'ends' | null

/** One tensor of the checkpoint, and the rows of it that this rank holds. */
export interface StoredPart {
  readonly name: string
  /** On this rank. */
  readonly rows: number
  readonly role: Role
  /** In the checkpoint. */
  readonly whole: readonly number[]
  /** What this rank holds of it; `null`: all. */
  readonly cut: Cut | null
}

export const linearPlaces = ['qkv', 'out', 'up', 'down'] as const
export type LinearPlace = (typeof linearPlaces)[number]

/** A linear layer and its key, such as `3.qkv` or `projectIn`: weights are stored under `KEY.weight` and `KEY.bias`. */
export interface KeyedLinear { readonly key: string; readonly spec: LinearSpec }

/** Layer of what the first and the last stage both hold: apart from all else, so that both lay it out alike. */
const atBothEnds = -2

const replicate: Role = { kind: 'replicate', unit: 1 }

/** The projections between the embedding's width and the hidden size, where they differ. */
export function projections({ embedding, hiddenSize }: Architecture, names: NameMap): { readonly projectIn: LinearSpec; readonly projectOut: LinearSpec } | null {
  if (embedding.dim === hiddenSize) return null
  const spec = (name: string | undefined, inFeatures: number, rows: number): LinearSpec => ({ parts: [{ name: name as string, rows, role: replicate }], inFeatures, bias: false })
  return { projectIn: spec(names.projectIn, embedding.dim, hiddenSize), projectOut: spec(names.projectOut, hiddenSize, embedding.dim) }
}

/** Every linear layer of a share but the head, in the order of the forward pass; sizes are the whole model's. */
export function linearSpecs(architecture: Architecture, names: NameMap, share: Share = wholeShare(architecture)): KeyedLinear[] {
  const between = projections(architecture, names)
  const layers = layersOf(share).flatMap((i) => {
    const layer = names.layer(i)
    return linearPlaces.map((place): KeyedLinear => ({ key: `${i}.${place}`, spec: layer[place] }))
  })
  if (between === null) return layers
  return [...(share.first ? [{ key: 'projectIn', spec: between.projectIn }] : []), ...layers, ...(share.last ? [{ key: 'projectOut', spec: between.projectOut }] : [])]
}

/** Numbers of a share's layers. */
export function layersOf({ chunks }: Share): number[] { return chunks.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i)) }

/** A stored weight before it is cut. */
type WholeWeight = Omit<StoredWeight, 'parts'> & { readonly parts: readonly Pick<StoredPart, 'name' | 'rows' | 'role'>[] }

/** Every weight that the record and the name map ask for on a rank, in the order of the forward pass. */
export function storedWeights(architecture: Architecture, names: NameMap, share: Share = wholeShare(architecture)): StoredWeight[] {
  const { vocabSize, hiddenSize, embedding, norm, positions, headDim, tiedHead } = architecture
  // A rank that sees some of the tokens makes a part of the gradient.
  const within: PartialGradient = share.sequence ? 'tensor' : null
  const between = projections(architecture, names), end = architecture.layers
  const matrix = (key: string, layer: number, module: string, shape: readonly number[], role: Role): WholeWeight =>
    ({ key, layer, shape, decay: true, partial: null, parts: [{ name: `${module}.weight`, rows: shape[0], role }] })
  const vocabulary = (key: string, layer: number, module: string): WholeWeight => matrix(key, layer, module, [vocabSize, embedding.dim], { kind: 'vocab', unit: 1 })
  const normWeights = (key: string, layer: number, module: string, width = hiddenSize, bias = norm.bias, partial: PartialGradient = null): WholeWeight[] => (bias ? ['weight', 'bias'] : ['weight']).map((kind) =>
    ({ key: `${key}.${kind}`, layer, shape: [width], decay: false, partial, parts: [{ name: `${module}.${kind}`, rows: width, role: replicate }] }))
  const all: WholeWeight[] = []
  // The head of a tied model is the embedding, which then stands at both ends.
  if (share.first || (share.last && tiedHead)) all.push(tiedHead && !(share.first && share.last) ? { ...vocabulary('embedding', atBothEnds, names.embedding), partial: 'ends' } : vocabulary('embedding', -1, names.embedding))
  if (share.first) {
    if (between !== null) all.push(...linearWeights('projectIn', -1, between.projectIn))
    if (positions.kind === 'learned') all.push(matrix('positions', -1, names.positionEmbedding as string, [positions.rows, hiddenSize], replicate))
    if (embedding.norm) all.push(...normWeights('embeddingNorm', -1, names.embeddingNorm as string))
  }
  for (const i of layersOf(share)) {
    const layer = names.layer(i)
    const layerNorm = (key: string, module: string): WholeWeight[] => normWeights(`${i}.${key}`, i, module, hiddenSize, norm.bias, within)
    all.push(...layerNorm('inputNorm', layer.inputNorm), ...linearWeights(`${i}.qkv`, i, layer.qkv))
    if (architecture.queryKeyNorm) all.push(...normWeights(`${i}.queryNorm`, i, layer.queryNorm as string, headDim, norm.bias, 'tensor'), ...normWeights(`${i}.keyNorm`, i, layer.keyNorm as string, headDim, norm.bias, 'tensor'))
    const outer = (key: string, module: string | undefined): WholeWeight[] => (architecture.order.norm === 'both' ? layerNorm(key, module as string) : [])
    all.push(
      ...linearWeights(`${i}.out`, i, layer.out, within), ...outer('outNorm', layer.outNorm), ...layerNorm('postNorm', layer.postNorm),
      ...linearWeights(`${i}.up`, i, layer.up), ...linearWeights(`${i}.down`, i, layer.down, within), ...outer('downNorm', layer.downNorm),
    )
  }
  if (share.last) {
    if (architecture.finalNorm) all.push(...normWeights('finalNorm', end, names.finalNorm))
    if (between !== null) all.push(...linearWeights('projectOut', end, between.projectOut))
    if (!tiedHead) all.push(vocabulary('head', end, names.head))
  }
  return all.map((weight) => cutWeight(weight, share))
}

function cutWeight({ parts, shape, ...rest }: WholeWeight, { tensor }: Share): StoredWeight {
  const cuts = parts.map((part): StoredPart => {
    const whole = [part.rows, ...shape.slice(1)], cut = cutOf(part.role, part.rows, shape[1] ?? 1, tensor)
    return { ...part, whole, cut, rows: cut !== null && cut.dim === 0 ? cutSize(cut) : part.rows }
  })
  const [{ cut }] = cuts
  const columns = shape.length === 1 ? [] : [cut !== null && cut.dim === 1 ? cutSize(cut) : shape[1]]
  return { ...rest, shape: [cuts.reduce((sum, { rows }) => sum + rows, 0), ...columns], parts: cuts }
}

/** @param partial of a bias that is added to the part of the tokens that a rank holds */
function linearWeights(key: string, layer: number, spec: LinearSpec, partial: PartialGradient = null): WholeWeight[] {
  const rows = outFeatures(spec)
  const weight: WholeWeight = { key: `${key}.weight`, layer, shape: [rows, spec.inFeatures], decay: true, partial: null, parts: spec.parts.map((p) => ({ ...p, name: `${p.name}.weight` })) }
  if (!spec.bias) return [weight]
  // A bias after a row-cut matrix is added once, so that every rank holds all of it.
  const bias = spec.parts.map((p) => ({ name: `${p.name}.bias`, rows: p.rows, role: p.role.kind === 'row' ? replicate : p.role }))
  return [weight, { key: `${key}.bias`, layer, shape: [rows], decay: false, partial, parts: bias }]
}

export function outFeatures(spec: LinearSpec): number { return spec.parts.reduce((sum, part) => sum + part.rows, 0) }
