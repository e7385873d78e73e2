import { ModelError } from '../../../errors'

/** Content of a config.json. */
type Config = Readonly<Record<string, unknown>>

/** A matrix that PaddleNLP joined: which of ours it holds and how their outputs lie in it. */
export interface Joined {
  /** Names of ours, without `.weight` or `.bias`. */
  readonly parts: readonly string[]
  /** `separate`: one after the other; `grouped`: for each key/value head its queries, its key, its value. */
  readonly layout: 'separate' | 'grouped'
}

/** How PaddleNLP names a family, beside how the published checkpoints do. */
interface Dialect {
  /** What its classes put before every name of the body. */
  readonly prefix: string
  /** What stands there instead. */
  readonly body: string
  /** Further changes, in order, on the name without its prefix. */
  readonly renamed: readonly (readonly [RegExp, string])[]
  readonly joined: readonly (readonly [RegExp, Joined['layout'], readonly string[]])[]
  /** Fields of config.json under other names. */
  readonly fields: Readonly<Record<string, string>>
  /** Fields that follow from others, or from the names of the weights that are there. */
  readonly config?: (config: Config, names: readonly string[]) => Record<string, unknown>
}

const joinedAttention = [/^(.*\.self_attn)\.qkv_proj$/, 'grouped', ['$1.q_proj', '$1.k_proj', '$1.v_proj']] as const
/** Heads that are tied to the embedding lie as it does, and say so by their name. */
const tiedHead = [/^lm_head\.decoder_weight$/, 'lm_head.weight'] as const

const dialects: Readonly<Record<string, Dialect>> = {
  llama: {
    prefix: 'llama.', body: 'model.', renamed: [], fields: {}, config: llamaConfig,
    joined: [joinedAttention, [/^(.*\.mlp)\.gate_up_fused_proj$/, 'separate', ['$1.gate_proj', '$1.up_proj']]],
  },
  bloom: { prefix: 'bloom.', body: 'transformer.', renamed: [tiedHead], joined: [], fields: {} },
  opt: {
    prefix: 'opt.', body: 'model.', joined: [joinedAttention],
    renamed: [
      tiedHead, [/^embeddings\.word_embeddings\./, 'decoder.embed_tokens.'], [/^embeddings\.position_embeddings\./, 'decoder.embed_positions.'], [/^embeddings\.project_in\./, 'decoder.project_in.'],
      [/\.linear([12])\./, '.fc$1.'], [/\.norm1\./, '.self_attn_layer_norm.'], [/\.norm2\./, '.final_layer_norm.'],
    ],
    fields: { normalize_before: 'do_layer_norm_before', intermediate_size: 'ffn_dim', hidden_act: 'activation_function' },
    // Its class keeps a head of its own beside the embedding, and trains both.
    config: (config, names) => (names.includes('lm_head.decoder_weight') ? { tie_word_embeddings: config.tie_word_embeddings ?? false } : {}),
  },
  qwen: {
    prefix: 'qwen.', body: 'transformer.', renamed: [], fields: {},
    joined: [[/^(.*\.mlp)\.gate_up_fused_proj$/, 'separate', ['$1.w2', '$1.w1']]],
  },
  chatglm: { prefix: 'chatglm.', body: '', renamed: [tiedHead], joined: [], fields: { num_hidden_layers: 'num_layers' } },
  chatglm_v2: {
    prefix: 'chatglm_v2.', body: 'transformer.', renamed: [], joined: [],
    fields: { num_hidden_layers: 'num_layers', vocab_size: 'padded_vocab_size', max_sequence_length: 'seq_length' }, config: () => ({ model_type: 'chatglm' }),
  },
}

function llamaConfig(config: Config): Record<string, unknown> {
  const { rope_scaling_type: type, rope_scaling_factor: factor } = config
  if (type == null) return {}
  // Its "ntk" multiplies the base once and for all, whatever the length.
  if (type !== 'linear') throw new ModelError('model.rope', `expected linear or nothing for "rope_scaling_type" in PaddleNLP's config.json, got ${JSON.stringify(type)}; a model with another scaling is not supported yet`, { value: type })
  return { rope_scaling: { type, factor } }
}

/** Fields that speak of PaddleNLP's own run time, not of the model. */
const ownFields = new Set([
  'paddlenlp_version', 'tensor_parallel_degree', 'tensor_parallel_rank', 'tensor_parallel_output', 'pipeline_parallel_degree', 'use_recompute', 'recompute_granularity', 'no_recompute_layers',
  'pp_recompute_interval', 'virtual_pp_degree', 'sequence_parallel', 'fuse_sequence_parallel_allreduce', 'fuse_attention_qkv', 'fuse_attention_ffn', 'use_fused_rms_norm', 'use_fused_rope',
  'rope_scaling_type', 'rope_scaling_factor', 'mp_degree', 'use_flash_attention', 'long_sequence_init_args', 'long_sequence_strategy_name', 'long_sequence_strategy_type', 'use_long_sequence_strategies', 'dtype',
])

/** How PaddleNLP speaks of this model. @throws ModelError `model.family` */
export function dialectOf(config: Config): Dialect {
  const type = config.model_type, known = typeof type === 'string' && Object.hasOwn(dialects, type) ? dialects[type] : undefined
  if (known !== undefined) return known
  throw new ModelError('model.family', `expected ${Object.keys(dialects).join(', ')} for "model_type" in the config.json of a PaddleNLP model, got ${JSON.stringify(type)}; use the same model in Hugging Face's layout`, { value: type })
}

/** True for a name that only PaddleNLP gives. */
export function isPaddleName(config: Config, name: string): boolean {
  const type = config.model_type
  return typeof type === 'string' && Object.hasOwn(dialects, type) && (name.startsWith(dialects[type].prefix) || name === 'lm_head.decoder_weight')
}

/** config.json as the published checkpoint of the family would have it. */
export function publishedConfig(dialect: Dialect, config: Config, names: readonly string[]): Record<string, unknown> {
  const kept = Object.entries(config).filter(([name]) => !ownFields.has(name)).map(([name, value]) => [dialect.fields[name] ?? name, value])
  return { ...Object.fromEntries(kept) as Record<string, unknown>, ...dialect.config?.(config, names) }
}

/** The published name of a weight. Names of a body that was saved alone have no prefix. */
export function publishedName(dialect: Dialect, name: string): string {
  const { prefix, body, renamed } = dialect
  const headed = /^lm_head\./.test(name), bare = name.startsWith(prefix) ? name.slice(prefix.length) : name
  const changed = renamed.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), bare)
  return headed ? changed : body + changed
}

/** What a joined matrix of PaddleNLP holds; `null` for a weight that stands alone. */
export function joinedBy(dialect: Dialect, module: string): Joined | null {
  for (const [pattern, layout, parts] of dialect.joined) {
    if (pattern.test(module)) return { layout, parts: parts.map((part) => module.replace(pattern, part)) }
  }
  return null
}
