import { call, ops, type Device, type DType } from 'fettle-native'
import { autocastBlocks } from './autocast'
import { FusedHead } from './fused-head'
import { fusedAttention } from './fused-attention'
import { fusedDecode } from './fused-layer'
import { fusedLinear } from './fused-linear'
import { fusedActivation, fusedNorm, fusedRotary } from './fused-rows'
import { Recipes } from './fused-recipes'
import { Workspace } from './fused-workspace'
import { plainBlocks } from './plain'
import type { Blocks, EmbeddingBlock } from './types'

/**
 * The blocks as kernels of our own (native/kernels) with a backward of their own, writing into memory that is laid out
 * once. For CPUs, in fp32 and bf16. What a kernel does not know runs in the plain form, block by block: adapter dropout,
 * DoRA, layer norm and norms of heads, activations other than SwiGLU, grouped heads and rotary positions of two axes, masked
 * and biased attention of whole sequences.
 */
export function fusedBlocks(): Blocks {
  const workspace = new Workspace(), recipes = new Recipes(workspace), head = new FusedHead(workspace), plain = plainBlocks()
  const embedding: EmbeddingBlock = {
    forward(ids, weight, context) {
      workspace.enter(context)
      const out = workspace.saved({ layer: -1, id: 'embedding' }, context, 'out', ids.shape[0], weight.value.shape[1], weight.value.dtype)
      return ops.index_select_out(out, weight.value, 0, ids)
    },
    backward: (grad, ids, weight) => plain.embedding.backward(grad, ids, weight),
  }
  return {
    form: 'fused', embedding, norm: fusedNorm(workspace, recipes), linear: fusedLinear(workspace, recipes), headNorm: plain.headNorm, rotary: fusedRotary,
    attention: fusedAttention(workspace), decode: fusedDecode(workspace), activation: fusedActivation(workspace, recipes), head,
    weightsChanged: () => undefined,
    reserve: (tokens) => workspace.reserve(tokens),
    free: () => { workspace.free(); head.free() },
  }
}

/** What decides which form of the blocks runs. */
export interface BlockChoice {
  readonly device: Device
  readonly dtype: DType
  /** The plan's wish: `plain` turns the fused form off. */
  readonly blocks: 'auto' | 'plain'
  /** fp16 at level O1: fp32 weights, products in halves. */
  readonly autocast?: boolean
}

/** The fused form where it exists (CPU, fp32 or bf16) and is not turned off, else the plain one. */
export function chooseBlocks({ device, dtype, blocks, autocast = false }: BlockChoice): Blocks {
  if (autocast) return autocastBlocks()
  const fused = blocks === 'auto' && device === 'cpu' && (dtype === 'float32' || dtype === 'bfloat16')
  return fused ? fusedBlocks() : plainBlocks()
}

/**
 * Which kernels the fused form runs on this machine, as `level/products`: the level is `base`, `avx2` or `avx512`;
 * products of bf16 are `own` (fp32 arithmetic in our kernels) or `aten` (oneDNN, where the CPU multiplies bf16 itself).
 */
export function kernels(): string { return call('fettle::kernels', '') as string }
