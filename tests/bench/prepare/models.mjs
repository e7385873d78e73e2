// The models of the bench as Hugging Face folders in bf16: the built-in SmolLM2-135M-Instruct, and shapes of two other
// families with random weights and SmolLM2's tokenizer, so that all of them train on the same rows.
import { createRequire } from 'node:module'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const ids = { bos_token_id: 1, eos_token_id: 2, pad_token_id: 2 }

/** What config.json says of the random ones: 138 and 124 million weights. */
const shapes = {
  qwen2: {
    architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2', vocab_size: 49152, hidden_size: 640, intermediate_size: 1792, num_hidden_layers: 24, num_attention_heads: 10, num_key_value_heads: 2,
    max_position_embeddings: 8192, rms_norm_eps: 1e-6, rope_theta: 1e6, hidden_act: 'silu', tie_word_embeddings: true, use_sliding_window: false, attention_dropout: 0, torch_dtype: 'bfloat16', ...ids,
  },
  opt: {
    architectures: ['OPTForCausalLM'], model_type: 'opt', vocab_size: 49152, hidden_size: 768, word_embed_proj_dim: 768, ffn_dim: 3072, num_hidden_layers: 12, num_attention_heads: 12,
    max_position_embeddings: 2048, activation_function: 'relu', do_layer_norm_before: true, enable_bias: true, tie_word_embeddings: true, dropout: 0, attention_dropout: 0, layerdrop: 0, torch_dtype: 'bfloat16', ...ids,
  },
}

/** Models by name: what a table calls them, and the longest row that they take. */
export const models = {
  smollm2: { title: 'SmolLM2-135M', positions: 8192 },
  qwen2: { title: 'a Qwen2 shape of 138M random weights', positions: 8192 },
  opt: { title: 'an OPT shape of 124M random weights', positions: 2048 },
}

/** Writes the model into `folder`; `smollm2`: the folder of that one, which lends its tokenizer. */
export async function writeModel(name, folder, smollm2) {
  if (name !== 'smollm2') return writeRandom(shapes[name], folder, smollm2)
  const { convertModel } = require('fettle/dist/export/convert'), { resolveModel } = require('fettle/dist/models/weights')
  convertModel({ model: await resolveModel('builtin:smollm2-135m'), output: folder, dtype: 'bf16' })
}

/** Matrices are normal(0, 0.02), norms the identity, biases zero: as these families begin to be trained. */
function writeRandom(config, folder, smollm2) {
  const { manualSeed, noGrad, ops, scope } = require('fettle-native')
  const { familyOf } = require('fettle/dist/models/families'), { storedWeights } = require('fettle/dist/models/layout'), { writeSafetensors } = require('fettle/dist/models/weights')
  const record = familyOf(config), architecture = record.architecture(config)
  mkdirSync(folder, { recursive: true })
  manualSeed(1)
  const random = (key, shape) => {
    const how = { dtype: 'float32', device: 'cpu' }
    if (/norm/i.test(key) && key.endsWith('.weight')) return ops.ones(shape, how)
    return key.endsWith('.bias') ? ops.zeros(shape, how) : ops.mul(ops.randn(shape, how), 0.02)
  }
  const tensors = storedWeights(architecture, record.names(architecture)).flatMap(({ key, shape, parts }) => parts.map(({ name, rows }) => {
    const own = [rows, ...shape.slice(1)]
    return [name, { dtype: 'bfloat16', shape: own, make: () => ops.to(random(key, own), { dtype: 'bfloat16' }) }]
  }))
  noGrad(() => scope(() => writeSafetensors(join(folder, 'model.safetensors'), new Map(tensors))))
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config, null, 2))
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) copyFileSync(join(smollm2, file), join(folder, file))
}
