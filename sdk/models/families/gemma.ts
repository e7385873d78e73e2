import type { Family } from '../architecture'
import { activation } from './config'
import { llamaArchitecture, llamaNames } from './llama'

/**
 * Gemma, the first generation: LLaMA with norms that store their factor less one, embeddings times √hidden, a gate of
 * GELU, and a tied head. Gemma team 2024 (arXiv 2403.08295).
 */
export const gemma: Family = {
  name: 'gemma', title: 'Gemma, the first generation',
  matches: (config) => config['model_type'] === 'gemma',
  architecture: (config) => {
    const a = llamaArchitecture('gemma', { tie_word_embeddings: true, head_dim: 256, ...config })
    // Older files say "gelu" and mean its tanh form, as the code that read them did.
    const named = config['hidden_activation'] ?? 'gelu_pytorch_tanh'
    return {
      ...a, norm: { ...a.norm, offset: 1 }, embedding: { ...a.embedding, scale: Math.sqrt(a.hiddenSize) },
      mlp: { ...a.mlp, activation: activation({ named }, 'named', 'gelu_pytorch_tanh') },
    }
  },
  names: (a) => llamaNames(a),
}
