import { mkdirSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import type { Architecture } from '../models/architecture'
import { families, familyOf } from '../models/families'
import { storedWeights } from '../models/layout'
import { Random } from '../models/random'
import { writeJsonAtomically } from '../models/weights/atomic'
import { writeSafetensors, type LazyTensor } from '../models/weights/safetensors-write'
import { unknownName } from '../plan/refuse'
import { byteTokenizer, specialIds } from './byte-tokenizer'

/** Options of `tinyModel`; all optional. */
export interface TinyModelOptions {
  /** Seed of the weights. Default 1. */
  readonly seed?: number
  /** Decoder layers. At least 1. Default 2. */
  readonly layers?: number
}

const vocabulary = 272, heads = 4, hidden = 32
const { mask, gmask, start, end } = specialIds

/** What config.json says of each family's model, but for the number of layers. */
const configs: Readonly<Record<string, (layers: number) => Record<string, unknown>>> = {
  llama: (layers) => llamaLike('llama', layers, { num_key_value_heads: 2 }),
  bloom: (layers) => ({ model_type: 'bloom', hidden_size: hidden, n_layer: layers, n_head: heads, seq_length: 256 }),
  opt: (layers) => ({ model_type: 'opt', hidden_size: hidden, ffn_dim: 64, num_hidden_layers: layers, num_attention_heads: heads, max_position_embeddings: 256, word_embed_proj_dim: 16, do_layer_norm_before: false }),
  qwen: (layers) => ({ model_type: 'qwen', hidden_size: hidden, intermediate_size: 128, num_hidden_layers: layers, num_attention_heads: heads, kv_channels: 8, seq_length: 256 }),
  chatglm: (layers) => ({
    model_type: 'chatglm', hidden_size: hidden, inner_hidden_size: 64, num_layers: layers, num_attention_heads: heads, position_encoding_2d: true, max_sequence_length: 256,
    bos_token_id: start, eos_token_id: end, mask_token_id: mask, gmask_token_id: gmask,
  }),
  chatglm2: (layers) => ({
    model_type: 'chatglm', hidden_size: hidden, ffn_hidden_size: 64, num_layers: layers, num_attention_heads: heads, kv_channels: 8, multi_query_attention: true, multi_query_group_num: 2, add_qkv_bias: true,
    padded_vocab_size: vocabulary, seq_length: 256,
  }),
  mistral: (layers) => llamaLike('mistral', layers, { sliding_window: 16, num_key_value_heads: 2 }),
  qwen2: (layers) => llamaLike('qwen2', layers, { num_key_value_heads: 2 }),
  qwen3: (layers) => llamaLike('qwen3', layers, { num_key_value_heads: 2, head_dim: 8 }),
  glm: (layers) => llamaLike('glm', layers, { num_key_value_heads: 2, attention_bias: true }),
  glm4: (layers) => llamaLike('glm4', layers, { num_key_value_heads: 2, attention_bias: true }),
  gemma: (layers) => llamaLike('gemma', layers, { head_dim: 8 }),
  phi3: (layers) => llamaLike('phi3', layers, { num_key_value_heads: 2 }),
}

function llamaLike(type: string, layers: number, own: Record<string, unknown>): Record<string, unknown> {
  return { model_type: type, hidden_size: hidden, intermediate_size: 64, num_hidden_layers: layers, num_attention_heads: heads, max_position_embeddings: 256, ...own }
}

/**
 * Writes a model of a family with random weights into `folder`: a few thousand values, a tokenizer of one token a byte. It
 * knows nothing and trains in seconds on a CPU, through the same code as the published models of its family.
 *
 * ```ts
 * const folder = examples.tinyModel('bloom', 'tiny/bloom')
 * ```
 *
 * @param family a name of `fettle models`, such as `llama`, `bloom`, `opt`, `qwen`, `chatglm`, `chatglm2`
 * @returns the folder
 * @throws PlanError `plan.unknown` for another name
 */
export function tinyModel(family: string, folder: string, options: TinyModelOptions = {}): string {
  const { seed = 1, layers = 2 } = options
  if (!Object.hasOwn(configs, family)) throw unknownName('family', family, families.map(({ name }) => name))
  const config: Record<string, unknown> = { vocab_size: vocabulary, bos_token_id: 1, eos_token_id: 2, pad_token_id: 0, ...configs[family](layers) }
  const record = familyOf(config), a = record.architecture(config), random = new Random(seed)
  mkdirSync(folder, { recursive: true })
  const tensors = storedWeights(a, record.names(a)).flatMap(({ key, shape, parts }) => parts.map(({ name, rows }): [string, LazyTensor] => {
    const own = [rows, ...shape.slice(1)]
    return [name, { dtype: 'float32', shape: own, bytes: () => values(a, key, own, random) }]
  }))
  writeSafetensors(path.join(folder, 'model.safetensors'), new Map(tensors))
  const { json, config: tokenizer } = byteTokenizer(a.prompt !== null, family === 'opt')
  writeFileSync(path.join(folder, 'tokenizer.json'), `${JSON.stringify(json)}\n`)
  writeJsonAtomically(path.join(folder, 'tokenizer_config.json'), tokenizer)
  writeJsonAtomically(path.join(folder, 'config.json'), config)
  return folder
}

/** Norms begin as the identity, biases at zero, matrices with a spread of a tenth. */
function values(a: Architecture, key: string, shape: readonly number[], random: Random): Uint8Array {
  const numbers = new Float32Array(shape.reduce((x, y) => x * y, 1))
  if (/norm/i.test(key) && key.endsWith('.weight')) numbers.fill(1 - a.norm.offset)
  else if (!key.endsWith('.bias')) for (let i = 0; i < numbers.length; i++) numbers[i] = 0.1 * random.normal()
  return new Uint8Array(numbers.buffer)
}
