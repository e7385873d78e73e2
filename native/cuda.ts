import { join } from 'node:path'
import { finder, graphs, hasAddon, home, libtorch } from './library'
import { NativeError } from './errors'
import { call } from './operator'
import { devices } from './system'

/** What there is to run kernels of our own on GPUs with. */
export interface CudaKernels {
  /** NVRTC's version, such as `13.2`; `null`: no library was found. */
  readonly nvrtc: string | null
  /** What each GPU compiles for, such as `sm_90`, in the order of `devices()`. */
  readonly architectures: readonly string[]
  /** graphs.node and nccl.node are built for this libtorch. */
  readonly graphs: boolean
  readonly nccl: boolean
  /** Why kernels cannot run here; `null`: they can. */
  readonly obstacle: string | null
}

/** The text of the kernels, by file. */
export const cudaFiles = ['norm', 'rotary', 'activation', 'head'] as const

let ready = false

/** Tells the addon where kernels lie, where machine code is kept, and where NVRTC may be. Idempotent. */
export function setUpCuda(): void {
  if (ready) return
  call('fettle_cuda::set_up', '', join(__dirname, '..', 'kernels', 'cuda'), join(home(), 'kernels'), finder.nvrtcLibraries(libtorch().folder))
  ready = true
}

/**
 * Compiles one file of kernels, without a GPU too: what the compiler warned of, and the bytes that it made. Machine code that
 * is kept from before is not compiled again.
 * @param architecture `sm_90` for machine code, `compute_90` for PTX
 * @throws NativeError `native.torch`, with the compiler's words
 */
export function compileKernels(file: (typeof cudaFiles)[number], architecture: string): { readonly log: string; readonly bytes: number } {
  setUpCuda()
  const [log, bytes] = call('fettle_cuda::compile', '', file, architecture) as [string, number]
  return { log, bytes }
}

/** Architectures that the NVRTC here compiles for, such as 90. @throws NativeError where there is none */
export function nvrtcArchitectures(): number[] {
  setUpCuda()
  return call('fettle_cuda::architectures', '') as number[]
}

/** Compute capability of a GPU: 90 is 9.0. @throws NativeError where there is no driver */
export function capability(device: number): number { return call('fettle_cuda::capability', '', device) as number }

/** Looks at what is here; never throws for what is missing. */
export function cudaKernels(): CudaKernels {
  const here = { graphs: hasAddon('graphs'), nccl: hasAddon('nccl') }, version = tried(() => {
    setUpCuda()
    return call('fettle_cuda::compiler_version', '') as string
  })
  const nvrtc = version instanceof NativeError ? null : version, gpus = devices().filter(({ kind }) => kind === 'cuda')
  if (gpus.length === 0) return { ...here, nvrtc, architectures: [], obstacle: 'no GPU that libtorch can use' }
  const found = tried(() => gpus.map((_, i) => `sm_${capability(i)}`)), architectures = found instanceof NativeError ? [] : found
  return { ...here, nvrtc, architectures, obstacle: version instanceof NativeError ? version.message : found instanceof NativeError ? found.message : null }
}

function tried<T>(body: () => T): T | NativeError {
  try {
    return body()
  } catch (error) {
    if (error instanceof NativeError) return error
    throw error
  }
}

/** A recorded stretch of GPU work that is launched again as a whole. */
export class CudaGraph {
  private constructor(private readonly id: number) {}

  /**
   * Records what `body` launches, on a stream of its own. Memory that it takes comes from a pool that graphs share, so that
   * what it writes lies where it lay at every replay, until another graph is replayed. `body` must have run before, outside, so that all is loaded; it may not
   * wait for the device.
   * @throws NativeError `native.missing` where graphs.node is not built or there is no GPU; whatever `body` throws
   */
  static record<T>(device: number, body: () => T): { graph: CudaGraph; result: T } {
    const addon = required(), id = addon.begin(device)
    try {
      const result = body()
      addon.end(id)
      return { graph: new CudaGraph(id), result }
    } catch (error) {
      addon.abandon(id)
      throw error
    }
  }

  /** Launches it on the current stream. */
  replay(): void { required().replay(this.id) }
  free(): void { required().free(this.id) }
}

function required(): NonNullable<ReturnType<typeof graphs>> {
  const addon = graphs()
  if (addon === null) throw new NativeError('native.missing', 'CUDA graphs need a GPU and graphs.node, which is built where headers of CUDA are found; run: npm run setup -- --with cuda')
  return addon
}
