import type { Family } from '../architecture'
import { optionalInteger } from './config'
import { llamaArchitecture, llamaNames } from './llama'
import { windowOf } from './record'

/** Phi-3 and Phi-4-mini: LLaMA with query, key and value in one matrix, gate and up in another. Abdin et al. 2024 (arXiv 2404.14219). */
export const phi3: Family = {
  name: 'phi3', title: 'Phi-3 and Phi-4-mini',
  matches: (config) => config['model_type'] === 'phi3',
  architecture: (config) => llamaArchitecture('phi3', config, {
    window: windowOf(config['sliding_window'] == null ? null : optionalInteger(config, 'sliding_window', 1), config, () => true),
  }),
  names: (a) => llamaNames(a, { qkv: 'self_attn.qkv_proj', up: 'mlp.gate_up_proj' }),
}
