import type { Architecture, Family, NameMap } from '../architecture'
import { optionalInteger, rotary, type Config } from './config'
import { llamaArchitecture, llamaNames } from './llama'

/**
 * GLM-4 in its repositories for transformers: LLaMA with gate and up in one matrix, whose heads rotate neighbours of
 * their first half. GLM team 2024 (arXiv 2406.12793).
 */
export const glm: Family = { name: 'glm', title: 'GLM-4', matches: (config) => config['model_type'] === 'glm', architecture: (config) => architecture('glm', config), names }

/** GLM-4-0414: GLM-4 with norms of what attention and MLP give, too. */
export const glm4: Family = {
  name: 'glm4', title: 'GLM-4-0414',
  matches: (config) => config['model_type'] === 'glm4',
  architecture: (config) => ({ ...architecture('glm4', config), order: { norm: 'both', residual: 'input', scale: 1 } }),
  names,
}

function architecture(family: string, config: Config): Architecture {
  const a = llamaArchitecture(family, config)
  const positions = rotary({ partial_rotary_factor: 0.5, ...config }, a.headDim, optionalInteger(config, 'max_position_embeddings', 131072))
  return { ...a, positions: { ...positions, layout: 'interleaved' }, attentionBias: { ...a.attentionBias, out: false } }
}

function names(a: Architecture): NameMap {
  const map = llamaNames(a, { up: 'mlp.gate_up_proj' })
  const layer: NameMap['layer'] = (index) => ({ ...map.layer(index), outNorm: `model.layers.${index}.post_self_attn_layernorm`, downNorm: `model.layers.${index}.post_mlp_layernorm` })
  return { ...map, layer }
}
