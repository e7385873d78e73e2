import { ModelError } from '../../errors'
import type { RotaryPositions } from '../architecture'

/** Content of a config.json. */
export type Config = Record<string, unknown>

/** Typed access to a config.json: each reader names the field, what was seen and what it expected. */
export function requireInteger(config: Config, field: string): number {
  const value = config[field]
  if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value
  throw new ModelError('model.config', `expected a positive integer for "${field}" in config.json, got ${JSON.stringify(value)}`, { field, value })
}

export function optionalInteger(config: Config, field: string, fallback: number): number {
  return config[field] === undefined || config[field] === null ? fallback : requireInteger(config, field)
}

export function optionalNumber(config: Config, field: string, fallback: number): number {
  const value = config[field]
  if (value === undefined || value === null) return fallback
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw new ModelError('model.config', `expected a number for "${field}" in config.json, got ${JSON.stringify(value)}`, { field, value })
}

export function optionalBoolean(config: Config, field: string, fallback: boolean): boolean {
  const value = config[field]
  if (value === undefined || value === null) return fallback
  if (typeof value === 'boolean') return value
  throw new ModelError('model.config', `expected true or false for "${field}" in config.json, got ${JSON.stringify(value)}`, { field, value })
}

/** A token id, a list of them, or null: `eos_token_id` comes in all three. */
export function tokenIds(config: Config, field: string, file = 'config.json'): number[] {
  const value = config[field]
  if (value === undefined || value === null) return []
  const list = Array.isArray(value) ? value : [value]
  if (list.every((id) => typeof id === 'number' && Number.isInteger(id))) return list as number[]
  throw new ModelError('model.config', `expected a token id or a list of them for "${field}" in ${file}, got ${JSON.stringify(value)}`, { field, value })
}

const activations: Record<string, 'silu' | 'gelu' | 'gelu_tanh' | 'relu'> = {
  silu: 'silu', swish: 'silu', gelu: 'gelu', gelu_new: 'gelu_tanh', gelu_pytorch_tanh: 'gelu_tanh', gelu_fast: 'gelu_tanh', relu: 'relu',
}

export function activation(config: Config, field: string, fallback: string): 'silu' | 'gelu' | 'gelu_tanh' | 'relu' {
  const name = config[field] ?? fallback
  const found = typeof name === 'string' ? activations[name] : undefined
  if (found !== undefined) return found
  throw new ModelError('model.config', `expected one of ${Object.keys(activations).join(', ')} for "${field}" in config.json, got ${JSON.stringify(name)}`, { field, value: name })
}

/**
 * Rotary positions from either form of config.json: `rope_theta` beside `rope_scaling: { type | rope_type, … }`, or the
 * newer `rope_parameters: { rope_type, rope_theta, … }`.
 */
export function rotary(config: Config, headDim: number, maxPositions: number): RotaryPositions {
  // As transformers reads it: a non-empty `rope_scaling` wins over `rope_parameters`.
  const scaling = nonEmpty(config['rope_scaling']) ?? nonEmpty(config['rope_parameters']) ?? {}
  const theta = optionalNumber(scaling, 'rope_theta', optionalNumber(config, 'rope_theta', 10000))
  const part = optionalNumber(scaling, 'partial_rotary_factor', optionalNumber(config, 'partial_rotary_factor', 1)), dim = Math.floor(headDim * part)
  if (dim % 2 !== 0) throw new ModelError('model.config', `expected an even head size for rotary positions, got ${dim}`, { headDim, dim })
  return { kind: 'rotary', theta, dim, layout: 'half', axes: 1, scaling: rotaryScaling(scaling, config, maxPositions) }
}

function rotaryScaling(scaling: Config, config: Config, maxPositions: number): RotaryPositions['scaling'] {
  const kind = scaling['rope_type'] ?? scaling['type'] ?? 'default'
  const factor = (): number => requireNumber(scaling, 'factor')
  switch (kind) {
    case 'default': return { kind: 'none' }
    case 'linear': return { kind: 'linear', factor: factor() }
    case 'dynamic': return { kind: 'dynamic', factor: factor(), originalMaxPositions: maxPositions }
    case 'llama3': {
      const outside = optionalInteger(config, 'original_max_position_embeddings', maxPositions)
      const original = config['original_max_position_embeddings'] == null ? optionalInteger(scaling, 'original_max_position_embeddings', outside) : outside
      return {
        kind: 'llama3', factor: factor(), originalMaxPositions: original,
        lowFreqFactor: requireNumber(scaling, 'low_freq_factor'), highFreqFactor: requireNumber(scaling, 'high_freq_factor'),
      }
    }
    default:
      throw new ModelError('model.rope', `expected rotary scaling default, linear, dynamic or llama3, got ${JSON.stringify(kind)}; a model with another scaling is not supported yet`, { kind })
  }
}

function requireNumber(config: Config, field: string): number {
  const value = optionalNumber(config, field, NaN)
  if (Number.isNaN(value)) throw new ModelError('model.rope', `expected a number for "${field}" in the rotary scaling of config.json, got nothing`, { field })
  return value
}

function nonEmpty(value: unknown): Config | undefined {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0 ? (value as Config) : undefined
}
