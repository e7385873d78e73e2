import { ModelError } from '../../errors'
import type { Family } from '../architecture'
import { bloom } from './bloom'
import { llama } from './llama'
import { opt } from './opt'

/** All families that the decoder knows. */
export const families: readonly Family[] = [llama, bloom, opt]

/** The family that a config.json describes. Throws `model.family` and names what is supported. */
export function familyOf(config: Record<string, unknown>): Family {
  const found = families.find((family) => family.matches(config))
  if (found !== undefined) return found
  const seen = config['model_type'] ?? config['architectures'] ?? null
  throw new ModelError('model.family', `expected a model of one of the families ${families.map((f) => f.name).join(', ')}, got model_type ${JSON.stringify(seen)} in config.json; try a LLaMA-style model such as builtin:smollm2-135m`, { model_type: seen, supported: families.map((f) => f.name) })
}
