import type { Architecture, LinearSpec, RotaryPositions, Role } from '../architecture'
import { ModelError } from '../../errors'
import { optionalInteger, requireInteger, tokenIds, type Config } from './config'

/** What most families have in common; a record says only where it differs. */
const usual = {
  order: { norm: 'before', residual: 'input', scale: 1 },
  finalNorm: true, qkvLayout: 'separate', queryKeyNorm: false, window: null, logn: null, prompt: null, countsPrefix: true,
} as const satisfies Partial<Architecture>

type Usual = keyof typeof usual | 'attentionScale' | 'embedding' | 'eosIds' | 'bosId'

/** A record from what a family says of itself, the usual for the rest, and the token ids of config.json. */
export function record(config: Config, own: Omit<Architecture, Usual | 'norm'> & Partial<Pick<Architecture, Usual>> & { readonly norm: Omit<Architecture['norm'], 'offset'> & { offset?: 0 | 1 } }): Architecture {
  return {
    ...usual, attentionScale: 1 / Math.sqrt(own.headDim), embedding: plainEmbedding(own.hiddenSize),
    eosIds: tokenIds(config, 'eos_token_id'), bosId: tokenIds(config, 'bos_token_id')[0] ?? null,
    ...own, norm: { offset: 0, ...own.norm },
  }
}

/** A table of the hidden size with nothing behind it. */
export function plainEmbedding(dim: number): Architecture['embedding'] { return { dim, scale: 1, norm: false, frozenId: null } }

/** Heads, key/value heads and head size, each checked against the others. */
export function headsOf(config: Config, hiddenSize: number, fields: { readonly heads: string; readonly kvHeads?: string; readonly headDim?: string }): Pick<Architecture, 'heads' | 'kvHeads' | 'headDim'> {
  const heads = requireInteger(config, fields.heads)
  const kvHeads = fields.kvHeads === undefined ? heads : optionalInteger(config, fields.kvHeads, heads)
  if (heads % kvHeads !== 0) {
    throw new ModelError('model.config', `expected ${fields.heads} to be a multiple of ${fields.kvHeads}, got ${heads} and ${kvHeads} in config.json`, { heads, kvHeads })
  }
  const given = fields.headDim !== undefined && config[fields.headDim] != null
  if (!given && hiddenSize % heads !== 0) {
    throw new ModelError('model.config', `expected hidden_size to be a multiple of ${fields.heads}, got ${hiddenSize} and ${heads} in config.json${fields.headDim === undefined ? '' : `; or give "${fields.headDim}"`}`, { hiddenSize, heads })
  }
  return { heads, kvHeads, headDim: given ? requireInteger(config, fields.headDim as string) : hiddenSize / heads }
}

/** Rotary positions without scaling. */
export function plainRotary(dim: number, own: Partial<RotaryPositions> = {}): RotaryPositions {
  if (!Number.isInteger(dim / 2 / (own.axes ?? 1))) throw new ModelError('model.config', `expected an even head size for rotary positions, got ${dim}`, { headDim: dim })
  return { kind: 'rotary', theta: 10000, dim, layout: 'half', axes: 1, scaling: { kind: 'none' }, ...own }
}

/** A window of `size` tokens in the layers that config.json lists as sliding, else in those that `has` names. */
export function windowOf(size: number | null, config: Config, has: (layer: number) => boolean): Architecture['window'] {
  if (size === null) return null
  const layers = requireInteger(config, 'num_hidden_layers'), types = config['layer_types'], known = ['full_attention', 'sliding_attention']
  if (types == null) return { size, layers: Array.from({ length: layers }, (_, layer) => has(layer)) }
  if (!Array.isArray(types) || types.length !== layers || !types.every((type) => known.includes(type as string))) {
    throw new ModelError('model.config', `expected ${layers} of ${known.join(' or ')} for "layer_types" in config.json, got ${JSON.stringify(types)}`, { field: 'layer_types', value: types })
  }
  return { size, layers: types.map((type) => type === 'sliding_attention') }
}

export const column = (unit: number, pieces?: readonly number[]): Role => ({ kind: 'column', unit, ...(pieces ? { pieces } : {}) })
export const row = (unit: number): Role => ({ kind: 'row', unit })

/** A linear layer that the checkpoint keeps in one piece. */
export function whole(name: string, rows: number, inFeatures: number, role: Role, bias: boolean): LinearSpec {
  return { parts: [{ name, rows, role }], inFeatures, bias }
}
