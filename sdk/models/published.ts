/** A checkpoint that people fine-tune, and what of its config.json decides its size. */
export interface PublishedModel {
  /** Repository on the Hugging Face hub. */
  readonly repository: string
  readonly family: string
  readonly config: Readonly<Record<string, unknown>>
  /** Its repository has pickled weights only. */
  readonly pickled?: boolean
}

const llama7b = { model_type: 'llama', hidden_size: 4096, intermediate_size: 11008, num_hidden_layers: 32, num_attention_heads: 32, vocab_size: 32000 }
const chatglm2 = {
  model_type: 'chatglm', hidden_size: 4096, ffn_hidden_size: 13696, num_layers: 28, num_attention_heads: 32, kv_channels: 128, multi_query_attention: true, multi_query_group_num: 2,
  padded_vocab_size: 65024, add_qkv_bias: true,
}

/** Published checkpoints by family; a test holds each against the number of its parameters. */
export const publishedModels: readonly PublishedModel[] = [
  { family: 'llama', repository: 'huggyllama/llama-7b', config: llama7b },
  { family: 'llama', repository: 'meta-llama/Llama-2-7b-chat-hf', config: { ...llama7b, max_position_embeddings: 4096 } },
  { family: 'llama', repository: 'meta-llama/Llama-3.2-1B', config: { model_type: 'llama', hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 16, num_attention_heads: 32, num_key_value_heads: 8, head_dim: 64, vocab_size: 128256, tie_word_embeddings: true, max_position_embeddings: 131072 } },
  { family: 'llama', repository: 'HuggingFaceTB/SmolLM2-135M-Instruct', config: { model_type: 'llama', hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, num_attention_heads: 9, num_key_value_heads: 3, vocab_size: 49152, tie_word_embeddings: true, max_position_embeddings: 8192 } },
  { family: 'bloom', repository: 'bigscience/bloomz-560m', config: { model_type: 'bloom', n_embed: 1024, n_layer: 24, num_attention_heads: 16, vocab_size: 250880 } },
  { family: 'bloom', repository: 'bigscience/bloomz-7b1-mt', config: { model_type: 'bloom', n_embed: 4096, n_layer: 30, num_attention_heads: 32, vocab_size: 250880 } },
  { family: 'opt', repository: 'facebook/opt-125m', pickled: true, config: { model_type: 'opt', hidden_size: 768, ffn_dim: 3072, num_hidden_layers: 12, num_attention_heads: 12, vocab_size: 50272, word_embed_proj_dim: 768 } },
  { family: 'opt', repository: 'facebook/opt-350m', pickled: true, config: { model_type: 'opt', hidden_size: 1024, ffn_dim: 4096, num_hidden_layers: 24, num_attention_heads: 16, vocab_size: 50272, word_embed_proj_dim: 512, do_layer_norm_before: false } },
  { family: 'opt', repository: 'facebook/opt-6.7b', pickled: true, config: { model_type: 'opt', hidden_size: 4096, ffn_dim: 16384, num_hidden_layers: 32, num_attention_heads: 32, vocab_size: 50272, word_embed_proj_dim: 4096 } },
  { family: 'qwen', repository: 'Qwen/Qwen-7B', config: { model_type: 'qwen', hidden_size: 4096, intermediate_size: 22016, num_hidden_layers: 32, num_attention_heads: 32, kv_channels: 128, vocab_size: 151936, seq_length: 8192 } },
  { family: 'chatglm', repository: 'THUDM/chatglm-6b', pickled: true, config: { model_type: 'chatglm', hidden_size: 4096, inner_hidden_size: 16384, num_layers: 28, num_attention_heads: 32, vocab_size: 130528, position_encoding_2d: true, bos_token_id: 130004, gmask_token_id: 130001, mask_token_id: 130000 } },
  { family: 'chatglm2', repository: 'THUDM/chatglm2-6b', pickled: true, config: chatglm2 },
  { family: 'chatglm2', repository: 'THUDM/chatglm3-6b', config: chatglm2 },
  { family: 'mistral', repository: 'mistralai/Mistral-7B-v0.1', config: { model_type: 'mistral', hidden_size: 4096, intermediate_size: 14336, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 8, vocab_size: 32000, max_position_embeddings: 32768 } },
  { family: 'qwen2', repository: 'Qwen/Qwen2-7B', config: { model_type: 'qwen2', hidden_size: 3584, intermediate_size: 18944, num_hidden_layers: 28, num_attention_heads: 28, num_key_value_heads: 4, vocab_size: 152064, max_position_embeddings: 131072 } },
  { family: 'qwen3', repository: 'Qwen/Qwen3-0.6B', config: { model_type: 'qwen3', hidden_size: 1024, intermediate_size: 3072, num_hidden_layers: 28, num_attention_heads: 16, num_key_value_heads: 8, head_dim: 128, vocab_size: 151936, tie_word_embeddings: true, max_position_embeddings: 40960 } },
  { family: 'glm', repository: 'THUDM/glm-4-9b-chat-hf', config: { model_type: 'glm', hidden_size: 4096, intermediate_size: 13696, num_hidden_layers: 40, num_attention_heads: 32, num_key_value_heads: 2, head_dim: 128, attention_bias: true, vocab_size: 151552 } },
  { family: 'glm4', repository: 'THUDM/GLM-4-9B-0414', config: { model_type: 'glm4', hidden_size: 4096, intermediate_size: 13696, num_hidden_layers: 40, num_attention_heads: 32, num_key_value_heads: 2, head_dim: 128, attention_bias: true, vocab_size: 151552 } },
  { family: 'gemma', repository: 'google/gemma-7b', config: { model_type: 'gemma', hidden_size: 3072, intermediate_size: 24576, num_hidden_layers: 28, num_attention_heads: 16, num_key_value_heads: 16, head_dim: 256, vocab_size: 256000, max_position_embeddings: 8192 } },
  { family: 'phi3', repository: 'microsoft/Phi-3-mini-4k-instruct', config: { model_type: 'phi3', hidden_size: 3072, intermediate_size: 8192, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 32, vocab_size: 32064, max_position_embeddings: 4096, sliding_window: 2047 } },
]
