import type { Architecture, Family, LayerSpec, NameMap } from '../architecture'
import { optionalBoolean, optionalInteger, optionalNumber, requireInteger, type Config } from './config'
import { column, headsOf, plainRotary, record, row, whole } from './record'

/**
 * Qwen, the first generation: LLaMA's blocks with query, key and value in one matrix that has a bias, and an MLP of half
 * the width that config.json says. Beyond the trained length inference raises the rotary base and scales queries
 * (logn). Bai et al. 2023 (arXiv 2309.16609).
 */
export const qwen: Family = { name: 'qwen', title: 'Qwen, the first generation', matches: (config) => config['model_type'] === 'qwen', architecture, names }

function architecture(config: Config): Architecture {
  const hiddenSize = requireInteger(config, 'hidden_size'), trainedLength = optionalInteger(config, 'seq_length', 8192)
  const heads = headsOf(config, hiddenSize, { heads: 'num_attention_heads', headDim: 'kv_channels' })
  const bias = !optionalBoolean(config, 'no_bias', true)
  return record(config, {
    family: 'qwen', countsPrefix: false, vocabSize: requireInteger(config, 'vocab_size'), hiddenSize, layers: requireInteger(config, 'num_hidden_layers'), ...heads,
    intermediateSize: Math.floor(requireInteger(config, 'intermediate_size') / 2), maxPositions: optionalInteger(config, 'max_position_embeddings', trainedLength),
    norm: { kind: 'rms', eps: optionalNumber(config, 'layer_norm_epsilon', 1e-6), bias: false },
    positions: plainRotary(Math.floor(heads.headDim * optionalNumber(config, 'rotary_pct', 1)), {
      theta: optionalNumber(config, 'rotary_emb_base', 10000),
      scaling: optionalBoolean(config, 'use_dynamic_ntk', true) ? { kind: 'steps', trainedLength } : { kind: 'none' },
    }),
    attentionScale: optionalBoolean(config, 'scale_attn_weights', true) ? heads.headDim ** -0.5 : 1,
    logn: optionalBoolean(config, 'use_logn_attn', true) ? trainedLength : null,
    attentionBias: { qkv: true, out: bias },
    mlp: { kind: 'gated', activation: 'silu', bias },
    tiedHead: optionalBoolean(config, 'tie_word_embeddings', false),
  })
}

function names(a: Architecture): NameMap {
  const width = a.heads * a.headDim
  const layer = (index: number): LayerSpec => {
    const base = `transformer.h.${index}`
    // w1 carries the values and w2 the gate, which stands first here.
    const up = ['w2', 'w1'].map((name) => ({ name: `${base}.mlp.${name}`, rows: a.intermediateSize, role: column(1) }))
    return {
      inputNorm: `${base}.ln_1`,
      qkv: whole(`${base}.attn.c_attn`, 3 * width, a.hiddenSize, column(a.headDim, [width, width, width]), a.attentionBias.qkv),
      out: whole(`${base}.attn.c_proj`, a.hiddenSize, width, row(a.headDim), a.attentionBias.out),
      postNorm: `${base}.ln_2`,
      up: { parts: up, inFeatures: a.hiddenSize, bias: a.mlp.bias },
      down: whole(`${base}.mlp.c_proj`, a.hiddenSize, a.intermediateSize, row(1), a.mlp.bias),
    }
  }
  return { body: 'transformer.', embedding: 'transformer.wte', layer, finalNorm: 'transformer.ln_f', head: 'lm_head', ignore: [/rotary_emb\.inv_freq$/, /\.attn\.(masked_)?bias$/] }
}
