import type { Architecture, Family } from '../architecture'
import { optionalBoolean, optionalInteger, type Config } from './config'
import { llamaArchitecture, llamaNames } from './llama'
import { windowOf } from './record'

/** Qwen2 and Qwen2.5: LLaMA with biases on queries, keys and values. Yang et al. 2024 (arXiv 2407.10671). */
export const qwen2: Family = {
  name: 'qwen2', title: 'Qwen2 and Qwen2.5',
  matches: (config) => config['model_type'] === 'qwen2',
  architecture: (config) => llamaArchitecture('qwen2', config, { attentionBias: { qkv: true, out: false }, window: upperWindow(config) }),
  names: (a) => llamaNames(a),
}

/** Qwen3: LLaMA with norms of query and key heads. Yang et al. 2025 (arXiv 2505.09388). */
export const qwen3: Family = {
  name: 'qwen3', title: 'Qwen3',
  matches: (config) => config['model_type'] === 'qwen3',
  architecture: (config) => llamaArchitecture('qwen3', { head_dim: 128, ...config }, { queryKeyNorm: true, window: upperWindow(config) }),
  names: (a) => llamaNames(a),
}

/** Where it is switched on, layers from `max_window_layers` up see a window. */
function upperWindow(config: Config): Architecture['window'] {
  const on = optionalBoolean(config, 'use_sliding_window', false) && config['sliding_window'] !== null
  return windowOf(on ? optionalInteger(config, 'sliding_window', 4096) : null, config, (layer) => layer >= optionalInteger(config, 'max_window_layers', 28))
}
