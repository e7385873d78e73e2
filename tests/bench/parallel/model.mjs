// The model of the parallel bench: LLaMA-shaped, random, fp32, written once.
import { createRequire } from 'node:module'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const { familyOf } = require('fettle/dist/models/families')

export const config = {
  model_type: 'llama', vocab_size: 8192, hidden_size: 384, num_hidden_layers: 12, num_attention_heads: 6, num_key_value_heads: 6, intermediate_size: 1056, max_position_embeddings: 2048, rms_norm_eps: 1e-5,
  bos_token_id: 1, eos_token_id: 2, pad_token_id: 0,
}

/** Record and names, as the simulation takes them. */
export function model() {
  const family = familyOf(config), architecture = family.architecture(config)
  return { architecture, names: family.names(architecture) }
}

/** Writes it into a folder, unless it is there. */
export function writeModel(folder) {
  const { ops, scope, manualSeed } = require('fettle-native'), { writeSafetensors } = require('fettle/dist/models/weights'), { storedWeights } = require('fettle/dist/models/layout')
  if (existsSync(join(folder, 'config.json'))) return folder
  mkdirSync(folder, { recursive: true })
  const { architecture, names } = model()
  manualSeed(1)
  scope(() => {
    const random = (shape) => (shape.length === 1 ? ops.ones(shape, { dtype: 'float32' }) : ops.mul(ops.randn(shape, { dtype: 'float32' }), 0.02))
    writeSafetensors(join(folder, 'model.safetensors'), new Map(storedWeights(architecture, names).flatMap(({ shape, parts }) => parts.map(({ name, rows }) => [name, random([rows, ...shape.slice(1)])]))))
  })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  return folder
}
