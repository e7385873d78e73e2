import { capability, cudaKernels, type Device } from 'fettle-native'
import { CudaAttention, pickAttention, type PickAttention } from './cuda-attention'
import { cudaHead } from './cuda-head'
import { cudaLinear } from './cuda-linear'
import { cudaActivation, cudaHeadNorm, cudaNorm, cudaRotary } from './cuda-rows'
import { plainBlocks } from './plain'
import type { Blocks } from './types'

/**
 * The blocks for GPUs, in fp32, bf16 and fp16: norms, rotary positions, activations and the loss as kernels of our own
 * (native/kernels/cuda), products and attention as libtorch's, each with a backward of its own, without a graph. Memory is
 * libtorch's: its cache hands a step the memory of the one before. What a kernel does not know runs in the plain form, block
 * by block: DoRA, and attention that is masked, cached, biased or behind a prefix.
 */
export function cudaBlocks(pick: PickAttention): Blocks {
  const plain = plainBlocks(), attention = new CudaAttention(pick)
  return {
    ...plain, form: 'cuda', norm: cudaNorm, linear: cudaLinear, headNorm: cudaHeadNorm, rotary: cudaRotary, attention, activation: cudaActivation, head: cudaHead,
    free: () => attention.free(),
  }
}

/** The form for a GPU; `null` where its kernels cannot be compiled or loaded, which `fettle doctor` explains. */
export function cudaForm(device: Device): Blocks | null {
  if (cudaKernels().obstacle !== null) return null
  return cudaBlocks(pickAttention(capability(Number(device.split(':')[1] ?? 0))))
}
