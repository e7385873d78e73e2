import { availableParallelism, freemem, totalmem } from 'node:os'
import { libtorch, native } from './library'
import type { Tensor } from './tensor'
import type { Device } from './types'

/** Threads that libtorch uses inside one operator. */
export function getThreads(): number {
  return native().threads()
}
/** Sets {@link getThreads}. Ranks that share cores each get their share. */
export function setThreads(count: number): void {
  native().setThreads(count)
}

/** One computing device. */
export interface DeviceInfo {
  readonly device: Device
  readonly kind: 'cpu' | 'cuda'
  /** Bytes. */
  readonly totalMemory: number
  /** Bytes. */
  readonly freeMemory: number
}

/** The CPU, then every CUDA device that libtorch can use. */
export function devices(): DeviceInfo[] {
  const engine = native()
  const found: DeviceInfo[] = [{ device: 'cpu', kind: 'cpu', totalMemory: totalmem(), freeMemory: freemem() }]
  for (let i = 0; i < engine.cudaDevices(); i++) {
    const [freeMemory, totalMemory] = engine.deviceMemory(i)
    found.push({ device: `cuda:${i}`, kind: 'cuda', totalMemory, freeMemory })
  }
  return found
}

/** The instruction set that libtorch's own kernels picked, such as `AVX512`. */
export function cpuCapability(): string {
  return native().cpuCapability()
}

/** Version of the libtorch in use. */
export function libtorchVersion(): string {
  return libtorch().version
}

/** Memory of this process, in bytes. */
export interface MemoryUse {
  /** Tensors that JavaScript holds. */
  readonly liveTensors: number
  /** Resident memory now. */
  readonly resident: number
  /** Highest resident memory so far. */
  readonly peakResident: number
  /** What malloc has handed out, and what it holds from the kernel. */
  readonly heapUsed: number
  readonly heapHeld: number
}

/** What this process holds. */
export function memory(): MemoryUse {
  const [heapUsed, heapHeld] = native().heap()
  return { liveTensors: native().live(), resident: residentMemory(), peakResident: process.resourceUsage().maxRSS * 1024, heapUsed, heapHeld }
}

/** Resident memory of this process in bytes. */
export function residentMemory(): number {
  return process.memoryUsage.rss()
}

/** Page faults of this process so far. */
export function pageFaults(): { minor: number; major: number } {
  const { minorPageFault, majorPageFault } = process.resourceUsage()
  return { minor: minorPageFault, major: majorPageFault }
}

/**
 * Makes a step find the memory again that the one before freed, as tcmalloc would, instead of faulting new pages in. For rank
 * workers; call it first. True when the C library took the settings.
 */
export function tuneAllocator(): boolean {
  return native().tuneAllocator()
}
/** Gives memory that malloc holds but nobody uses back to the kernel. */
export function trimAllocator(): boolean {
  return native().trimAllocator()
}
/** Asks the kernel for huge pages under a large CPU tensor; false where the kernel refuses. */
export function hugePages(tensor: Tensor): boolean {
  return native().hugePages(tensor.handle)
}

/** From now on the kernel ends this process with its parent, whatever state it is in. False when the parent `pid` has ended already. */
export function dieWithParent(pid: number): boolean {
  return native().dieWithParent(pid)
}

/** Cores that this process may use. */
export function cores(): number {
  return availableParallelism()
}
