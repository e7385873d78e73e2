import { ModelError } from '../../errors'
import type { Family } from '../architecture'
import { bloom } from './bloom'
import { chatglm } from './chatglm'
import { chatglm2 } from './chatglm2'
import { gemma } from './gemma'
import { glm, glm4 } from './glm'
import { llama } from './llama'
import { mistral } from './mistral'
import { opt } from './opt'
import { phi3 } from './phi3'
import { qwen } from './qwen'
import { qwen2, qwen3 } from './qwen2'

/** All families that the decoder knows. ChatGLM2 says that it is ChatGLM, so that it is asked first. */
export const families: readonly Family[] = [llama, bloom, opt, qwen, chatglm2, chatglm, mistral, qwen2, qwen3, glm, glm4, gemma, phi3]

/** The family that a config.json describes. Throws `model.family` and names what is supported. */
export function familyOf(config: Record<string, unknown>): Family {
  const found = families.find((family) => family.matches(config))
  if (found !== undefined) return found
  const seen = config['model_type'] ?? config['architectures'] ?? null
  throw new ModelError('model.family', `expected a model of one of the families ${families.map((f) => f.name).join(', ')}, got model_type ${JSON.stringify(seen)} in config.json; try a LLaMA-style model such as builtin:smollm2-135m`, { model_type: seen, supported: families.map((f) => f.name) })
}
