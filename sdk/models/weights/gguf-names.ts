import { ModelError } from '../../errors'
import type { GgufFile } from './gguf-metadata'

/** How one llama.cpp architecture stores a family: Hugging Face names, and what its converter changed. */
export interface GgufArchitecture {
  readonly modelType: string
  readonly className: string
  /** The checkpoint's name, or null for a tensor that carries no weight. */
  readonly name: (ggufName: string) => string | null | undefined
  /** Number of heads by which the rows of this tensor were interleaved, when they were. */
  readonly interleaved: (ggufName: string, heads: number, kvHeads: number) => number | undefined
}

const llamaParts: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm', ffn_norm: 'post_attention_layernorm',
  attn_q: 'self_attn.q_proj', attn_k: 'self_attn.k_proj', attn_v: 'self_attn.v_proj', attn_output: 'self_attn.o_proj',
  ffn_gate: 'mlp.gate_proj', ffn_up: 'mlp.up_proj', ffn_down: 'mlp.down_proj',
}

const llama: GgufArchitecture = {
  modelType: 'llama',
  className: 'LlamaForCausalLM',
  name(ggufName) {
    const outer: Record<string, string | null> = {
      'token_embd.weight': 'model.embed_tokens.weight', 'output_norm.weight': 'model.norm.weight', 'output.weight': 'lm_head.weight',
      // Factors of Llama 3's rotary scaling: they go into the configuration.
      'rope_freqs.weight': null,
    }
    if (ggufName in outer) return outer[ggufName]
    const match = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(ggufName)
    const part = match && llamaParts[match[2]]
    return part ? `model.layers.${match[1]}.${part}.${match[3]}` : undefined
  },
  // llama.cpp rotates neighbours, Hugging Face rotates the two halves of a head: its converter reorders the rows of q and k.
  interleaved(ggufName, heads, kvHeads) {
    if (/\.attn_q\./.test(ggufName)) return heads
    return /\.attn_k\./.test(ggufName) ? kvHeads : undefined
  },
}

const architectures: Readonly<Record<string, GgufArchitecture>> = { llama }

/** @throws ModelError `model.ggufArchitecture` for one that Fettle has no names for. */
export function ggufArchitecture(file: GgufFile): GgufArchitecture {
  const name = file.metadata.get('general.architecture')
  const found = typeof name === 'string' ? architectures[name] : undefined
  if (found) return found
  throw new ModelError('model.ggufArchitecture',
    `${file.path}: GGUF architecture ${JSON.stringify(name)} is not supported (supported: ${Object.keys(architectures).join(', ')}); use the model's Hugging Face folder with safetensors`,
    { path: file.path, architecture: name })
}

/**
 * Row of the checkpoint that row `row` of llama.cpp's interleaved q or k matrix is: pairs (2i, 2i+1) of each head go
 * back to (i, i + headDim/2). It undoes `permute` of llama.cpp's convert_hf_to_gguf.py.
 */
export function deinterleavedRow(row: number, rowsPerHead: number): number {
  const inHead = row % rowsPerHead
  return row - inHead + (inHead >> 1) + (inHead & 1) * (rowsPerHead >> 1)
}
