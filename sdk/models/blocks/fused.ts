import { call, ops, type Device, type DType } from 'fettle-native'
import { autocastBlocks } from './autocast'
import { cudaForm } from './cuda'
import { FusedHead } from './fused-head'
import { fusedAttention } from './fused-attention'
import { fusedDecode } from './fused-layer'
import { fusedLinear } from './fused-linear'
import { fusedActivation, fusedNorm, fusedRotary } from './fused-rows'
import { PackedWeights } from './fused-packs'
import { Recipes } from './fused-recipes'
import { Workspace } from './fused-workspace'
import { plainBlocks } from './plain'
import type { Blocks, EmbeddingBlock } from './types'

/** `pack`: keep frozen bf16 weights packed too. Default: where the CPU multiplies bf16 itself. */
export interface FusedOptions { readonly pack?: boolean }

/**
 * The blocks as kernels of our own (native/kernels) with a backward of their own, writing into memory that is laid out
 * once. For CPUs, in fp32 and bf16. What a kernel does not know runs in the plain form, block by block: DoRA, norms of
 * heads, masked attention.
 */
export function fusedBlocks({ pack = !kernels().endsWith('/own') }: FusedOptions = {}): Blocks {
  const workspace = new Workspace(), recipes = new Recipes(workspace), packs = new PackedWeights(pack), head = new FusedHead(workspace), plain = plainBlocks()
  const embedding: EmbeddingBlock = {
    forward(ids, weight, context) {
      workspace.enter(context)
      const out = workspace.saved({ layer: -1, id: 'embedding' }, context, 'out', ids.shape[0], weight.value.shape[1], weight.value.dtype)
      return ops.index_select_out(out, weight.value, 0, ids)
    },
    backward: (grad, ids, weight) => plain.embedding.backward(grad, ids, weight),
  }
  return {
    form: 'fused', embedding, norm: fusedNorm(workspace, recipes), linear: fusedLinear(workspace, recipes, packs), headNorm: plain.headNorm, rotary: fusedRotary,
    attention: fusedAttention(workspace), decode: fusedDecode(workspace), activation: fusedActivation(workspace, recipes), head,
    weightsChanged: () => undefined,
    reserve: (tokens) => workspace.reserve(tokens),
    free: () => { workspace.free(); packs.free(); head.free() },
    memory: () => ({ buffers: workspace.used, panels: head.bytes, packed: packs.bytes }),
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

/** The fused form where it exists (CPU, fp32 or bf16) and is not turned off, that of CUDA where its kernels can run, else the plain one. */
export function chooseBlocks({ device, dtype, blocks, autocast = false }: BlockChoice): Blocks {
  if (autocast) return autocastBlocks()
  if (blocks === 'auto' && device.startsWith('cuda')) return cudaForm(device) ?? plainBlocks()
  const fused = blocks === 'auto' && device === 'cpu' && (dtype === 'float32' || dtype === 'bfloat16')
  return fused ? fusedBlocks() : plainBlocks()
}

/**
 * Which kernels the fused form runs on this machine, as `level/products`: the level is `base`, `avx2` or `avx512`;
 * products of bf16 are `own` (fp32 arithmetic in our kernels), or oneDNN's microkernels on `bf16` (AVX-512 BF16) or `amx`.
 */
export function kernels(): string { return call('fettle::kernels', '') as string }
