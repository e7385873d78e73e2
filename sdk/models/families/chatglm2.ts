import { ModelError } from '../../errors'
import type { Architecture, Family, LayerSpec, NameMap } from '../architecture'
import { optionalBoolean, optionalInteger, optionalNumber, requireInteger, type Config } from './config'
import { column, headsOf, plainRotary, record, row, whole } from './record'

/**
 * ChatGLM2-6B, ChatGLM3-6B, and GLM-4 in its first repository: heads share a few key/value groups, neighbours of the
 * first half of a head are rotated, query/key/value and gate/up are one matrix each. https://github.com/THUDM/ChatGLM2-6B
 */
export const chatglm2: Family = {
  name: 'chatglm2', title: 'ChatGLM2-6B and ChatGLM3-6B',
  matches: (config) => config['model_type'] === 'chatglm' && (config['multi_query_attention'] !== undefined || config['padded_vocab_size'] !== undefined),
  architecture, names,
}

function architecture(config: Config): Architecture {
  const hiddenSize = requireInteger(config, 'hidden_size'), layers = requireInteger(config, 'num_layers')
  const heads = headsOf(config, hiddenSize, { heads: 'num_attention_heads', headDim: 'kv_channels', ...(optionalBoolean(config, 'multi_query_attention', false) ? { kvHeads: 'multi_query_group_num' } : {}) })
  const rms = optionalBoolean(config, 'rmsnorm', true), bias = optionalBoolean(config, 'add_bias_linear', false), normed = optionalBoolean(config, 'apply_residual_connection_post_layernorm', false)
  return record(config, {
    family: 'chatglm2', countsPrefix: false, vocabSize: requireInteger(config, 'padded_vocab_size'), hiddenSize, layers, ...heads,
    intermediateSize: requireInteger(config, 'ffn_hidden_size'), maxPositions: optionalInteger(config, 'seq_length', 2048),
    norm: { kind: rms ? 'rms' : 'layer', eps: optionalNumber(config, 'layernorm_epsilon', 1e-5), bias: !rms },
    order: { norm: 'before', residual: normed ? 'normed' : 'input', scale: 1 },
    finalNorm: optionalBoolean(config, 'post_layer_norm', true),
    positions: plainRotary(heads.headDim / 2, { layout: 'interleaved', theta: 10000 * ropeRatio(config) }),
    attentionBias: { qkv: bias || optionalBoolean(config, 'add_qkv_bias', false), out: bias },
    mlp: { kind: 'gated', activation: 'silu', bias },
    tiedHead: optionalBoolean(config, 'tie_word_embeddings', false),
  })
}

/** ChatGLM3-6B-32K and GLM-4 multiply the base by it; ChatGLM2-6B-32K divides positions, and its config.json looks as ChatGLM3's. */
function ropeRatio(config: Config): number {
  const ratio = optionalNumber(config, 'rope_ratio', 1)
  if (ratio === 1 || config['padded_vocab_size'] !== 65024) return ratio
  throw new ModelError('model.rope', `expected 1 for "rope_ratio" in config.json, got ${ratio}: ChatGLM2-6B-32K and ChatGLM3-6B-32K mean different things by it; use the model of the usual length`, { field: 'rope_ratio', value: ratio })
}

function names(a: Architecture): NameMap {
  const width = a.heads * a.headDim, groups = a.kvHeads * a.headDim
  const layer = (index: number): LayerSpec => {
    const base = `transformer.encoder.layers.${index}`
    return {
      inputNorm: `${base}.input_layernorm`,
      qkv: whole(`${base}.self_attention.query_key_value`, width + 2 * groups, a.hiddenSize, column(a.headDim, [width, groups, groups]), a.attentionBias.qkv),
      out: whole(`${base}.self_attention.dense`, a.hiddenSize, width, row(a.headDim), a.attentionBias.out),
      postNorm: `${base}.post_attention_layernorm`,
      up: whole(`${base}.mlp.dense_h_to_4h`, 2 * a.intermediateSize, a.hiddenSize, column(1, [a.intermediateSize, a.intermediateSize]), a.mlp.bias),
      down: whole(`${base}.mlp.dense_4h_to_h`, a.hiddenSize, a.intermediateSize, row(1), a.mlp.bias),
    }
  }
  return {
    body: 'transformer.', embedding: 'transformer.embedding.word_embeddings', layer, finalNorm: 'transformer.encoder.final_layernorm',
    head: 'transformer.output_layer', ignore: [/rotary_pos_emb\.inv_freq$/],
  }
}
