import { ModelError } from '../../errors'
import type { Architecture, Family, LayerSpec, NameMap, Role } from '../architecture'
import { activation, optionalBoolean, optionalInteger, optionalNumber, requireInteger, rotary, tokenIds } from './config'

/**
 * LLaMA 1, 2 and 3, and what has their structure (SmolLM2, TinyLlama, …): RMS norm before each half, rotary positions,
 * grouped key/value heads, SwiGLU, head tied or not. Touvron et al. 2023 (arXiv 2302.13971, 2307.09288).
 */
export const llama: Family = {
  name: 'llama',
  matches: (config) => config['model_type'] === 'llama' || (config['model_type'] === undefined && Array.isArray(config['architectures']) && config['architectures'].includes('LlamaForCausalLM')),
  architecture,
  names,
}

function architecture(config: Record<string, unknown>): Architecture {
  const hiddenSize = requireInteger(config, 'hidden_size')
  const heads = requireInteger(config, 'num_attention_heads')
  const kvHeads = optionalInteger(config, 'num_key_value_heads', heads)
  if (heads % kvHeads !== 0) {
    throw new ModelError('model.config', `expected num_attention_heads to be a multiple of num_key_value_heads, got ${heads} and ${kvHeads}`, { heads, kvHeads })
  }
  if (config['head_dim'] == null && hiddenSize % heads !== 0) {
    throw new ModelError('model.config', `expected hidden_size to be a multiple of num_attention_heads, got ${hiddenSize} and ${heads}; or give "head_dim"`, { hiddenSize, heads })
  }
  const headDim = optionalInteger(config, 'head_dim', hiddenSize / heads)
  if (headDim % 2 !== 0) throw new ModelError('model.config', `expected an even head size for rotary positions, got ${headDim}`, { headDim })
  const maxPositions = optionalInteger(config, 'max_position_embeddings', 2048)
  const attentionBias = optionalBoolean(config, 'attention_bias', false)
  return {
    family: 'llama', vocabSize: requireInteger(config, 'vocab_size'), hiddenSize, layers: requireInteger(config, 'num_hidden_layers'),
    heads, kvHeads, headDim, intermediateSize: requireInteger(config, 'intermediate_size'), maxPositions,
    norm: { kind: 'rms', eps: optionalNumber(config, 'rms_norm_eps', 1e-6), bias: false },
    positions: rotary(config, headDim, maxPositions),
    attentionScale: 1 / Math.sqrt(headDim),
    attentionBias: { qkv: attentionBias, out: attentionBias },
    mlp: { kind: 'gated', activation: activation(config, 'hidden_act', 'silu'), bias: optionalBoolean(config, 'mlp_bias', false) },
    tiedHead: optionalBoolean(config, 'tie_word_embeddings', false),
    eosIds: tokenIds(config, 'eos_token_id'), bosId: tokenIds(config, 'bos_token_id')[0] ?? null, padId: tokenIds(config, 'pad_token_id')[0] ?? null,
  }
}

function names(a: Architecture): NameMap {
  const column = (unit: number): Role => ({ kind: 'column', unit })
  const row = (unit: number): Role => ({ kind: 'row', unit })
  const layer = (index: number): LayerSpec => {
    const base = `model.layers.${index}`
    const attention = (name: string, rows: number): { name: string; rows: number; role: Role } => ({ name: `${base}.self_attn.${name}`, rows, role: column(a.headDim) })
    const mlp = (name: string): { name: string; rows: number; role: Role } => ({ name: `${base}.mlp.${name}`, rows: a.intermediateSize, role: column(1) })
    return {
      inputNorm: `${base}.input_layernorm`,
      qkv: {
        parts: [attention('q_proj', a.heads * a.headDim), attention('k_proj', a.kvHeads * a.headDim), attention('v_proj', a.kvHeads * a.headDim)],
        inFeatures: a.hiddenSize, bias: a.attentionBias.qkv,
      },
      out: { parts: [{ name: `${base}.self_attn.o_proj`, rows: a.hiddenSize, role: row(a.headDim) }], inFeatures: a.heads * a.headDim, bias: a.attentionBias.out },
      postNorm: `${base}.post_attention_layernorm`,
      up: { parts: [mlp('gate_proj'), mlp('up_proj')], inFeatures: a.hiddenSize, bias: a.mlp.bias },
      down: { parts: [{ name: `${base}.mlp.down_proj`, rows: a.hiddenSize, role: row(1) }], inFeatures: a.intermediateSize, bias: a.mlp.bias },
    }
  }
  return { embedding: 'model.embed_tokens', layer, finalNorm: 'model.norm', head: 'lm_head', ignore: [/rotary_emb\.inv_freq$/, /\.attn\.(masked_)?bias$/] }
}
