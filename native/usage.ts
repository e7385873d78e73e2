import { native } from './library'
import type { Device } from './types'

/** Page faults of this process so far that needed no disk: cheap enough to be asked around each block of a step. */
export function minorFaults(): number { return native().minorFaults() }

/** Resident memory of this process in bytes, and how much of it are pages of files: libraries, and weights that are mapped. Linux alone. */
export function residentBytes(): { readonly resident: number; readonly file: number } {
  const [resident, file] = native().residentBytes()
  return { resident, file }
}

/** Memory in tensors, in bytes. */
export interface TensorBytes {
  readonly now: number
  /** The most since the last look. */
  readonly peak: number
  /** What the allocator holds for them, free blocks included; on the CPU it is not told apart. */
  readonly held: number
}

/** What tensors of a device hold. On the CPU it counts what was made since `tuneAllocator()`; without that, what malloc has handed out. */
export function tensorBytes(device: Device): TensorBytes {
  if (device !== 'cpu') {
    const [now, peak, held] = native().deviceBytes(indexOf(device))
    return { now, peak, held }
  }
  const [now, peak] = native().tensorBytes()
  if (peak > 0) return { now, peak, held: now }
  const [used, held] = native().heap()
  return { now: used, peak: used, held }
}

/** Waits until a device has done all that it was given; on the CPU nothing waits. */
export function synchronize(device: Device): void { if (device !== 'cpu') native().synchronize(indexOf(device)) }

function indexOf(device: Device): number { return Number(device.split(':')[1] ?? 0) }
