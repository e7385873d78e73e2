import { ModelError } from '../../errors'
import type { GgufArchitecture } from './gguf-names'
import type { GgufFile, GgufValue } from './gguf-metadata'
import { llama3Scaling } from './gguf-rope'
import type { GgufTokenizerMaterial } from './types'

/**
 * The config.json that a GGUF file stands for, in Hugging Face's names.
 * @param ropeFactors content of `rope_freqs.weight`, when the file has it
 * @throws ModelError `model.gguf` when a needed value is missing
 */
export function ggufConfig(file: GgufFile, architecture: GgufArchitecture, ropeFactors?: Float32Array): Record<string, unknown> {
  const get = getter(file)
  const heads = get.number('attention.head_count')
  const hidden = get.number('embedding_length')
  const headDim = get.optional('attention.key_length') ?? get.optional('rope.dimension_count') ?? hidden / heads
  refuseOthers(file, get, headDim)
  const theta = shortest(get.optional('rope.freq_base') ?? 10000)
  return {
    architectures: [architecture.className],
    model_type: architecture.modelType,
    hidden_size: hidden,
    intermediate_size: get.number('feed_forward_length'),
    num_hidden_layers: get.number('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: get.optional('attention.head_count_kv') ?? heads,
    head_dim: headDim,
    hidden_act: 'silu',
    max_position_embeddings: get.number('context_length'),
    rms_norm_eps: shortest(get.number('attention.layer_norm_rms_epsilon')),
    rope_theta: theta,
    rope_scaling: ropeScaling(get, theta, headDim, ropeFactors),
    vocab_size: get.optional('vocab_size') ?? vocabulary(file),
    attention_bias: file.tensors.has('blk.0.attn_q.bias'),
    mlp_bias: file.tensors.has('blk.0.ffn_gate.bias'),
    tie_word_embeddings: !file.tensors.has('output.weight'),
    attention_dropout: 0,
    initializer_range: 0.02,
    pretraining_tp: 1,
    use_cache: true,
    ...specialIds(file),
  }
}

/** What a GGUF file says of its tokenizer. */
export function ggufTokenizer(file: GgufFile): GgufTokenizerMaterial {
  const get = <T extends GgufValue>(key: string) => file.metadata.get(`tokenizer.${key}`) as T | undefined
  const model = get<string>('ggml.model')
  const tokens = get<string[]>('ggml.tokens')
  if (typeof model !== 'string' || !Array.isArray(tokens)) {
    throw new ModelError('model.tokenizer', `${file.path}: carries no tokenizer; use a file that has one, or give token ids instead of text`, { path: file.path })
  }
  const named = [...file.metadata].filter(([key]) => key.startsWith('tokenizer.chat_template.'))
    .map(([key, value]) => [key.slice('tokenizer.chat_template.'.length), String(value)])
  return {
    kind: 'gguf', path: file.path, model, tokens,
    pre: get<string>('ggml.pre'),
    merges: get<string[]>('ggml.merges'), scores: get<number[]>('ggml.scores'), tokenTypes: get<number[]>('ggml.token_type'),
    ids: {
      bos: get<number>('ggml.bos_token_id'), eos: get<number>('ggml.eos_token_id'), unknown: get<number>('ggml.unknown_token_id'),
      padding: get<number>('ggml.padding_token_id'), separator: get<number>('ggml.seperator_token_id'), mask: get<number>('ggml.mask_token_id'),
      eot: get<number>('ggml.eot_token_id'), eom: get<number>('ggml.eom_token_id'),
    },
    addBos: get<boolean>('ggml.add_bos_token'), addEos: get<boolean>('ggml.add_eos_token'),
    addSpacePrefix: get<boolean>('ggml.add_space_prefix'), removeExtraWhitespaces: get<boolean>('ggml.remove_extra_whitespaces'),
    chatTemplate: get<string>('chat_template'),
    ...(named.length ? { namedChatTemplates: Object.fromEntries(named) } : {}),
  }
}

/** The shortest decimal that is the same fp32 number: metadata holds 1e-5 as 0.000009999999747378752. */
export function shortest(value: number): number {
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === Math.fround(value)) return short
  }
  return value
}

interface Getter {
  number(key: string): number
  optional(key: string): number | undefined
  text(key: string): string | undefined
}

function getter(file: GgufFile): Getter {
  const prefix = file.metadata.get('general.architecture')
  const optional = (key: string) => {
    const value = file.metadata.get(`${prefix}.${key}`)
    if (value === undefined || typeof value === 'number') return value
    throw new ModelError('model.gguf', `${file.path}: ${prefix}.${key} is ${JSON.stringify(value)?.slice(0, 80)}, expected one number for all layers; use the model's Hugging Face folder`,
      { path: file.path, key, value })
  }
  return {
    optional,
    number(key) {
      const value = optional(key)
      if (value !== undefined) return value
      throw new ModelError('model.gguf', `${file.path}: lacks ${prefix}.${key}; convert the model anew with a current llama.cpp`, { path: file.path, key })
    },
    text: key => file.metadata.get(`${prefix}.${key}`) as string | undefined,
  }
}

function refuseOthers(file: GgufFile, get: Getter, headDim: number): void {
  const experts = get.optional('expert_count') ?? 0
  if (experts > 0) {
    throw new ModelError('model.ggufArchitecture', `${file.path}: is a mixture of ${experts} experts, which is not supported; use a dense model`, { path: file.path, experts })
  }
  const rotated = get.optional('rope.dimension_count') ?? headDim
  const valueLength = get.optional('attention.value_length') ?? headDim
  if (rotated !== headDim || valueLength !== headDim) {
    throw new ModelError('model.gguf', `${file.path}: rotates ${rotated} of ${headDim} places of a head and has values of ${valueLength}, which is not LLaMA's structure; use another model`,
      { path: file.path, rotated, headDim, valueLength })
  }
}

function ropeScaling(get: Getter, theta: number, headDim: number, factors?: Float32Array): Record<string, unknown> | null {
  const original = get.optional('rope.scaling.original_context_length')
  if (factors) return llama3Scaling(factors, theta, headDim, original)
  const type = get.text('rope.scaling.type')
  const factor = get.optional('rope.scaling.factor') ?? get.optional('rope.scale_linear')
  if (factor === undefined || type === 'none') return null
  const base = { rope_type: type ?? 'linear', factor: shortest(factor) }
  return original === undefined ? base : { ...base, original_max_position_embeddings: original }
}

function vocabulary(file: GgufFile): number {
  const rows = file.tensors.get('token_embd.weight')?.shape[0]
  if (rows !== undefined) return rows
  throw new ModelError('model.gguf', `${file.path}: has no token_embd.weight, so it is not a language model; use another file`, { path: file.path })
}

function specialIds(file: GgufFile): Record<string, unknown> {
  const id = (name: string) => file.metadata.get(`tokenizer.ggml.${name}_token_id`) as number | undefined
  const ends = [...new Set([id('eos'), id('eot'), id('eom')].filter(e => e !== undefined))]
  return { bos_token_id: id('bos') ?? null, eos_token_id: ends.length > 1 ? ends : ends[0] ?? null, pad_token_id: id('padding') ?? null }
}
