import { ModelError } from '../../errors'
import type { Architecture, Family, LayerSpec, LinearSpec, NameMap } from '../architecture'
import { activation, optionalBoolean, optionalInteger, requireInteger, tokenIds, type Config } from './config'
import { column, headsOf, plainEmbedding, record, row, whole } from './record'

/**
 * OPT: learned positions, layer norm before each half (or after it, in the 350M model), ReLU, biases everywhere, head
 * tied. Where the embedding is narrower than the hidden states two projections stand between. Zhang et al. 2022
 * (arXiv 2205.01068).
 */
export const opt: Family = { name: 'opt', title: 'OPT', matches: (config) => config['model_type'] === 'opt', architecture, names }

/** Position p is row p + 2: rows 0 and 1 were padding in the code that trained the models. */
const positionOffset = 2

function architecture(config: Config): Architecture {
  if (!optionalBoolean(config, 'layer_norm_elementwise_affine', true)) {
    throw new ModelError('model.config', 'expected true for "layer_norm_elementwise_affine" in config.json, got false; norms without weights are not supported', { field: 'layer_norm_elementwise_affine' })
  }
  const hiddenSize = requireInteger(config, 'hidden_size'), maxPositions = optionalInteger(config, 'max_position_embeddings', 2048)
  const before = optionalBoolean(config, 'do_layer_norm_before', true), bias = optionalBoolean(config, 'enable_bias', true)
  return record(config, {
    family: 'opt', vocabSize: requireInteger(config, 'vocab_size'), hiddenSize, layers: requireInteger(config, 'num_hidden_layers'),
    ...headsOf(config, hiddenSize, { heads: 'num_attention_heads' }), intermediateSize: requireInteger(config, 'ffn_dim'), maxPositions,
    embedding: { ...plainEmbedding(optionalInteger(config, 'word_embed_proj_dim', hiddenSize)), frozenId: tokenIds(config, 'pad_token_id')[0] ?? 1 },
    norm: { kind: 'layer', eps: 1e-5, bias: true },
    order: { norm: before ? 'before' : 'after', residual: 'input', scale: 1 },
    finalNorm: before && !optionalBoolean(config, '_remove_final_layer_norm', false),
    positions: { kind: 'learned', offset: positionOffset, rows: maxPositions + positionOffset },
    attentionBias: { qkv: bias, out: bias },
    mlp: { kind: 'plain', activation: activation(config, 'activation_function', 'relu'), bias },
    tiedHead: optionalBoolean(config, 'tie_word_embeddings', true),
  })
}

function names(a: Architecture): NameMap {
  const layer = (index: number): LayerSpec => {
    const base = `model.decoder.layers.${index}`
    const attention = (name: string): LinearSpec['parts'][number] => ({ name: `${base}.self_attn.${name}`, rows: a.hiddenSize, role: column(a.headDim) })
    return {
      inputNorm: `${base}.self_attn_layer_norm`,
      qkv: { parts: ['q_proj', 'k_proj', 'v_proj'].map(attention), inFeatures: a.hiddenSize, bias: a.attentionBias.qkv },
      out: whole(`${base}.self_attn.out_proj`, a.hiddenSize, a.hiddenSize, row(a.headDim), a.attentionBias.out),
      postNorm: `${base}.final_layer_norm`,
      up: whole(`${base}.fc1`, a.intermediateSize, a.hiddenSize, column(1), a.mlp.bias),
      down: whole(`${base}.fc2`, a.hiddenSize, a.intermediateSize, row(1), a.mlp.bias),
    }
  }
  const body = 'model.decoder'
  return {
    body: 'model.', embedding: `${body}.embed_tokens`, positionEmbedding: `${body}.embed_positions`, projectIn: `${body}.project_in`, projectOut: `${body}.project_out`,
    layer, finalNorm: `${body}.final_layer_norm`, head: 'lm_head', ignore: [],
  }
}
