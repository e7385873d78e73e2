import type { Family } from '../architecture'
import { optionalInteger, rotary } from './config'
import { llamaArchitecture, llamaNames } from './llama'

/** GLM-4 in its repositories for transformers: LLaMA with gate and up in one matrix, whose heads rotate neighbours of their first half. GLM team 2024 (arXiv 2406.12793). */
export const glm: Family = {
  name: 'glm',
  matches: (config) => config['model_type'] === 'glm',
  architecture: (config) => {
    const a = llamaArchitecture('glm', config)
    const positions = rotary({ partial_rotary_factor: 0.5, ...config }, a.headDim, optionalInteger(config, 'max_position_embeddings', 131072))
    return { ...a, positions: { ...positions, layout: 'interleaved' }, attentionBias: { ...a.attentionBias, out: false } }
  },
  names: (a) => llamaNames(a, { up: 'mlp.gate_up_proj' }),
}
