import type { Architecture, Family, LayerSpec, LinearSpec, NameMap } from '../architecture'
import { activation, optionalBoolean, optionalInteger, optionalNumber, requireInteger, rotary, tokenIds, type Config } from './config'
import { column, headsOf, plainEmbedding, record, row, whole } from './record'

/**
 * LLaMA 1, 2 and 3, and what has their structure (SmolLM2, TinyLlama, …): RMS norm before each half, rotary positions,
 * grouped key/value heads, SwiGLU, head tied or not. Touvron et al. 2023 (arXiv 2302.13971, 2307.09288).
 */
export const llama: Family = {
  name: 'llama', title: 'LLaMA 1, 2 and 3',
  matches: (config) => config['model_type'] === 'llama' || (config['model_type'] === undefined && Array.isArray(config['architectures']) && config['architectures'].includes('LlamaForCausalLM')),
  architecture: (config) => llamaArchitecture('llama', config),
  names: (a) => llamaNames(a),
}

/** What families of LLaMA's structure share; `own` says where one differs. */
export function llamaArchitecture(family: string, config: Config, own: Partial<Architecture> = {}): Architecture {
  const hiddenSize = requireInteger(config, 'hidden_size')
  const heads = headsOf(config, hiddenSize, { heads: 'num_attention_heads', kvHeads: 'num_key_value_heads', headDim: 'head_dim' })
  const maxPositions = optionalInteger(config, 'max_position_embeddings', 2048)
  const attentionBias = optionalBoolean(config, 'attention_bias', false)
  return record(config, {
    family, vocabSize: requireInteger(config, 'vocab_size'), hiddenSize, layers: requireInteger(config, 'num_hidden_layers'), ...heads,
    intermediateSize: requireInteger(config, 'intermediate_size'), maxPositions,
    embedding: { ...plainEmbedding(hiddenSize), frozenId: tokenIds(config, 'pad_token_id')[0] ?? null },
    norm: { kind: 'rms', eps: optionalNumber(config, 'rms_norm_eps', 1e-6), bias: false },
    positions: rotary(config, heads.headDim, maxPositions),
    attentionBias: { qkv: attentionBias, out: attentionBias },
    mlp: { kind: 'gated', activation: activation(config, 'hidden_act', 'silu'), bias: optionalBoolean(config, 'mlp_bias', false) },
    tiedHead: optionalBoolean(config, 'tie_word_embeddings', false),
    ...own,
  })
}

/** LLaMA's names, with norms of heads where the record has them; `fused` names matrices that others keep apart. */
export function llamaNames(a: Architecture, fused: { readonly qkv?: string; readonly up?: string } = {}): NameMap {
  const keys = a.kvHeads * a.headDim, queries = a.heads * a.headDim
  const joined = (base: string, parts: readonly (readonly [string, number])[], unit: number, bias: boolean, one?: string): LinearSpec => ({
    parts: one === undefined
      ? parts.map(([name, rows]) => ({ name: `${base}.${name}`, rows, role: column(unit) }))
      : [{ name: `${base}.${one}`, rows: parts.reduce((sum, [, rows]) => sum + rows, 0), role: column(unit, parts.map(([, rows]) => rows)) }],
    inFeatures: a.hiddenSize, bias,
  })
  const layer = (index: number): LayerSpec => {
    const base = `model.layers.${index}`
    return {
      inputNorm: `${base}.input_layernorm`,
      qkv: joined(base, [['self_attn.q_proj', queries], ['self_attn.k_proj', keys], ['self_attn.v_proj', keys]], a.headDim, a.attentionBias.qkv, fused.qkv),
      queryNorm: `${base}.self_attn.q_norm`, keyNorm: `${base}.self_attn.k_norm`,
      out: whole(`${base}.self_attn.o_proj`, a.hiddenSize, queries, row(a.headDim), a.attentionBias.out),
      postNorm: `${base}.post_attention_layernorm`,
      up: joined(base, [['mlp.gate_proj', a.intermediateSize], ['mlp.up_proj', a.intermediateSize]], 1, a.mlp.bias, fused.up),
      down: whole(`${base}.mlp.down_proj`, a.hiddenSize, a.intermediateSize, row(1), a.mlp.bias),
    }
  }
  return { body: 'model.', embedding: 'model.embed_tokens', layer, finalNorm: 'model.norm', head: 'lm_head', ignore: [/rotary_emb\.inv_freq$/, /\.attn\.(masked_)?bias$/] }
}
