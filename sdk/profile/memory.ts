import { residentBytes } from 'fettle-native'
import { elements } from '../models/flat'
import type { Decoder } from '../models/decoder'
import type { AdamW } from '../train/optimizer'
import type { MemoryPart, MemoryReading } from './types'

/** What the process held before it read a model, in bytes. */
export interface MemoryBase { readonly resident: number; readonly file: number }

/** To be called once, before the model is read. */
export function readBase(): MemoryBase { return residentBytes() }

const widths: Partial<Record<string, number>> = { float32: 4, bfloat16: 2, float16: 2, uint8: 1, int8: 1 }

/**
 * Divides the peak between what holds it. The standing tensors are counted as they were at the begin of the first step; what came
 * above them in a step are activations. Weights that are mapped files count as far as they were read in. All parts sum to the peak: `rest`
 * is what nothing else explains.
 */
export function partsOf(memory: readonly MemoryReading[], base: MemoryBase, { blocks, parameters }: Decoder, optimizer: AdamW): MemoryPart[] {
  const device = parameters.device, onDevice = device !== 'cpu'
  const peak = Math.max(...memory.map(({ resident }) => resident)), standing = Math.min(...memory.filter(({ at }) => at === 'begin').map(({ tensors }) => tensors))
  const activations = Math.max(0, Math.max(...memory.map(({ at, tensors, tensorsPeak }) => (at === 'begin' ? tensors : tensorsPeak))) - standing)
  const gradients = 4 * (parameters.flat?.size ?? 0), moments = 8 * optimizer.expAvg.shape[0]
  const stored = parameters.layout.reduce((sum, { shape }) => sum + elements(shape), 0) * (widths[parameters.dtype] ?? 4)
  const mapped = onDevice ? 0 : Math.max(0, Math.min(stored, residentBytes().file - base.file))
  const { buffers, panels, packed } = blocks.memory?.() ?? { buffers: 0, panels: 0, packed: 0 }
  const runtime = onDevice ? 0 : base.resident, weights = Math.max(0, standing - gradients - moments) + mapped
  const known = runtime + weights + packed + gradients + moments + activations + buffers + panels
  const all: MemoryPart[] = [
    { name: 'library and runtime', bytes: runtime }, { name: 'weights', bytes: weights }, { name: 'packed weights', bytes: packed },
    { name: 'gradients', bytes: gradients }, { name: 'optimizer moments', bytes: moments }, { name: 'activations', bytes: activations },
    { name: 'workspace', bytes: buffers }, { name: 'head panel', bytes: panels }, { name: 'rest', bytes: Math.max(0, peak - known) },
  ]
  return touched(all, known - peak).filter(({ bytes }) => bytes > 0)
}

/** Less so many bytes, where that is above 0: memory that was laid out and not written yet is not resident, and free memory of the beginning is used again. */
function touched(parts: readonly MemoryPart[], missing: number): MemoryPart[] {
  let left = Math.max(0, missing)
  const less = new Map<string, number>()
  for (const name of ['workspace', 'head panel', 'library and runtime', 'optimizer moments', 'gradients', 'activations', 'weights']) {
    const by = Math.min(left, parts.find((part) => part.name === name)!.bytes)
    less.set(name, by)
    left -= by
  }
  return parts.map(({ name, bytes }) => ({ name, bytes: bytes - (less.get(name) ?? 0) }))
}
