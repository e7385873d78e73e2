import type { Architecture, Family, LayerSpec, NameMap } from '../architecture'
import { optionalBoolean, optionalInteger, optionalNumber, requireInteger, type Config } from './config'
import { column, headsOf, plainEmbedding, record, row, whole } from './record'

/**
 * BLOOM and BLOOMZ: ALiBi instead of positions, layer norm behind the embedding and before each half, query, key and
 * value of each head side by side in one matrix, GELU, biases everywhere, head tied. Le Scao et al. 2022 (arXiv 2211.05100).
 */
export const bloom: Family = { name: 'bloom', title: 'BLOOM and BLOOMZ', matches: (config) => config['model_type'] === 'bloom', architecture, names }

function architecture(config: Config): Architecture {
  const field = (...names: string[]): string => names.find((name) => config[name] != null) ?? names[0]
  const hiddenSize = requireInteger(config, field('n_embed', 'hidden_size'))
  const normed = optionalBoolean(config, 'apply_residual_connection_post_layernorm', false)
  return record(config, {
    family: 'bloom', vocabSize: requireInteger(config, 'vocab_size'), hiddenSize, layers: requireInteger(config, field('n_layer', 'num_hidden_layers')),
    ...headsOf(config, hiddenSize, { heads: field('n_head', 'num_attention_heads') }), intermediateSize: 4 * hiddenSize,
    maxPositions: optionalInteger(config, 'seq_length', 2048),
    embedding: { ...plainEmbedding(hiddenSize), norm: true },
    norm: { kind: 'layer', eps: optionalNumber(config, 'layer_norm_epsilon', 1e-5), bias: true },
    order: { norm: 'before', residual: normed ? 'normed' : 'input', scale: 1 },
    positions: { kind: 'alibi' }, qkvLayout: 'grouped',
    attentionBias: { qkv: true, out: true },
    mlp: { kind: 'plain', activation: 'gelu_tanh', bias: true },
    tiedHead: optionalBoolean(config, 'tie_word_embeddings', true),
  })
}

function names(a: Architecture): NameMap {
  const layer = (index: number): LayerSpec => {
    const base = `transformer.h.${index}`, h = a.hiddenSize
    return {
      inputNorm: `${base}.input_layernorm`,
      qkv: whole(`${base}.self_attention.query_key_value`, 3 * h, h, column(3 * a.headDim), true),
      out: whole(`${base}.self_attention.dense`, h, h, row(a.headDim), true),
      postNorm: `${base}.post_attention_layernorm`,
      up: whole(`${base}.mlp.dense_h_to_4h`, a.intermediateSize, h, column(1), true),
      down: whole(`${base}.mlp.dense_4h_to_h`, h, a.intermediateSize, row(1), true),
    }
  }
  return {
    body: 'transformer.', embedding: 'transformer.word_embeddings', embeddingNorm: 'transformer.word_embeddings_layernorm',
    layer, finalNorm: 'transformer.ln_f', head: 'lm_head', ignore: [],
  }
}
