import type { Architecture, Family, LayerSpec, NameMap } from '../architecture'
import { optionalBoolean, optionalInteger, optionalNumber, requireInteger, type Config } from './config'
import { column, headsOf, plainRotary, record, row, whole } from './record'

/**
 * ChatGLM-6B: a prompt that all its tokens see, then an answer; one half of each head is rotated by the position, the
 * other by the place in the answer. Norms come first, and what the halves are added to is the normed input times
 * √(2 · layers). Du et al. 2022 (arXiv 2103.10360), Zeng et al. 2022 (arXiv 2210.02414).
 */
export const chatglm: Family = {
  name: 'chatglm', title: 'ChatGLM-6B',
  matches: (config) => config['model_type'] === 'chatglm' && (config['position_encoding_2d'] === true || config['inner_hidden_size'] !== undefined),
  architecture, names,
}

function architecture(config: Config): Architecture {
  const hiddenSize = requireInteger(config, 'hidden_size'), layers = requireInteger(config, 'num_layers')
  const heads = headsOf(config, hiddenSize, { heads: 'num_attention_heads' })
  return record(config, {
    family: 'chatglm', countsPrefix: false, vocabSize: requireInteger(config, 'vocab_size'), hiddenSize, layers, ...heads,
    intermediateSize: optionalInteger(config, 'inner_hidden_size', 4 * hiddenSize), maxPositions: optionalInteger(config, 'max_sequence_length', 2048),
    norm: { kind: 'layer', eps: optionalNumber(config, 'layernorm_epsilon', 1e-5), bias: true },
    order: { norm: 'before', residual: 'normed', scale: Math.sqrt(2 * layers) },
    positions: plainRotary(heads.headDim, { axes: 2 }), qkvLayout: 'grouped',
    prompt: { start: requireInteger(config, 'bos_token_id'), marks: [requireInteger(config, 'gmask_token_id'), requireInteger(config, 'mask_token_id')] },
    attentionBias: { qkv: true, out: true },
    mlp: { kind: 'plain', activation: 'gelu_tanh', bias: true },
    tiedHead: optionalBoolean(config, 'tie_word_embeddings', true),
  })
}

function names(a: Architecture): NameMap {
  const layer = (index: number): LayerSpec => {
    const base = `transformer.layers.${index}`, h = a.hiddenSize
    return {
      inputNorm: `${base}.input_layernorm`,
      qkv: whole(`${base}.attention.query_key_value`, 3 * h, h, column(3 * a.headDim), true),
      out: whole(`${base}.attention.dense`, h, h, row(a.headDim), true),
      postNorm: `${base}.post_attention_layernorm`,
      up: whole(`${base}.mlp.dense_h_to_4h`, a.intermediateSize, h, column(1), true),
      down: whole(`${base}.mlp.dense_4h_to_h`, h, a.intermediateSize, row(1), true),
    }
  }
  return { body: 'transformer.', embedding: 'transformer.word_embeddings', layer, finalNorm: 'transformer.final_layernorm', head: 'lm_head', ignore: [/rotary_emb\.inv_freq$/] }
}
