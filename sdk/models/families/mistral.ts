import type { Family } from '../architecture'
import { optionalInteger } from './config'
import { llamaArchitecture, llamaNames } from './llama'
import { windowOf } from './record'

/** Mistral: LLaMA whose layers see a window of the past. Jiang et al. 2023 (arXiv 2310.06825). */
export const mistral: Family = {
  name: 'mistral', title: 'Mistral',
  matches: (config) => config['model_type'] === 'mistral',
  architecture: (config) => llamaArchitecture('mistral', config, {
    window: windowOf(config['sliding_window'] === null ? null : optionalInteger(config, 'sliding_window', 4096), config, () => true),
  }),
  names: (a) => llamaNames(a),
}
