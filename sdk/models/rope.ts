import { call, keep, ops, scope, tensor, type Device, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Architecture, RotaryPositions } from './architecture'
import type { Batch } from './batch'
import type { RopeTables } from './blocks/types'
import { inType, onDevice } from './device'

const f32 = Math.fround

/**
 * Inverse wavelengths of rotary positions (arXiv 2104.09864), one for each rotated pair, with the scaling of the record.
 * `length` (last position + 1) matters for dynamic scaling only.
 *
 * Every step rounds to fp32 as the published implementations do: models were trained with those angles, and at long
 * positions exact ones differ from them in the fourth digit of small gradients.
 */
export function inverseFrequencies(positions: RotaryPositions, length: number): Float32Array {
  const { scaling } = positions, dim = positions.dim / positions.axes
  let theta = positions.theta
  if (scaling.kind === 'dynamic') {
    // NTK-aware: a longer sequence raises the base instead of squeezing positions.
    const ratio = (scaling.factor * Math.max(length, scaling.originalMaxPositions)) / scaling.originalMaxPositions - (scaling.factor - 1)
    theta *= ratio ** (dim / (dim - 2))
  }
  if (scaling.kind === 'steps') theta *= baseFactor(scaling.trainedLength, length) ** (dim / (dim - 2))
  const exponents = Float32Array.from({ length: dim / 2 }, (_, i) => (2 * i) / dim)
  const wavelengths = scope(() => (call('aten::pow', 'Scalar', theta, tensor(exponents)) as Tensor).toFloat32Array())
  return wavelengths.map((wavelength) => {
    const frequency = f32(1 / wavelength)
    if (scaling.kind === 'linear') return frequency / scaling.factor
    return scaling.kind === 'llama3' ? llama3(frequency, scaling) : frequency
  })
}

/** By how much a length beyond the trained one raises the base (NTK by steps): 1, 3, 7, … at each doubling. */
export function baseFactor(trainedLength: number, length: number): number {
  return length <= trainedLength ? 1 : 2 ** Math.ceil(Math.log2(length / trainedLength) + 1) - 1
}

/** Llama 3.1: long waves are slowed down, short ones kept, those between interpolated. */
function llama3(frequency: number, s: Extract<RotaryPositions['scaling'], { kind: 'llama3' }>): number {
  const wavelength = f32(f32(2 * Math.PI) / frequency)
  if (wavelength < s.originalMaxPositions / s.highFreqFactor) return frequency
  if (wavelength > s.originalMaxPositions / s.lowFreqFactor) return frequency / s.factor
  const smooth = f32(f32(f32(s.originalMaxPositions / wavelength) - s.lowFreqFactor) / (s.highFreqFactor - s.lowFreqFactor))
  return f32(f32(f32(1 - smooth) * frequency) / s.factor) + f32(smooth * frequency)
}

/** Makes a batch's cosines and sines, once for all layers. */
export class Rope {
  private readonly frequencies: Tensor | null
  private readonly logn: number | null

  constructor(architecture: Architecture, private readonly positions: RotaryPositions, private readonly device: Device) {
    this.logn = architecture.logn
    const { kind } = positions.scaling
    this.frequencies = kind === 'dynamic' || kind === 'steps' ? null : keep(scope(() => this.row(0)))
  }

  /** @param training what the record says of inference alone stays off */
  tables(batch: Batch, training: boolean): RopeTables {
    const frequencies = this.frequencies ?? (training && this.positions.scaling.kind === 'steps' ? this.row(0) : this.perToken(batch))
    const angles = this.anglesOf(batch, frequencies)
    return { cos: ops.cos(angles), sin: ops.sin(angles), queryScale: training ? null : this.queryScale(batch) }
  }

  free(): void { this.frequencies?.free() }

  private anglesOf({ positions, blocks }: Batch, frequencies: Tensor): Tensor {
    const angles = (of: Tensor): Tensor => ops.mul(ops.unsqueeze(inType(of, 'float32'), 1), frequencies)
    if (this.positions.axes === 1) return angles(positions)
    if (blocks === undefined) throw new ModelError('batch.prompt', 'expected places in the answers beside positions for this model, got none; make batches with the prompt rule of its record, or give position_ids [B, 2, T]', {})
    return ops.cat([angles(positions), angles(blocks)], 1)
  }

  private queryScale({ positions, lengths }: Batch): Tensor | null {
    if (this.logn === null || Math.max(...lengths) <= this.logn) return null
    return ops.clamp_min(ops.div(ops.log(ops.add(inType(positions, 'float32'), 1)), Math.log(this.logn)), 1)
  }

  /** Scaling by length: each sequence by its own, so that a packed row gives what it gives alone. */
  private perToken(batch: Batch): Tensor {
    const { attention, lengths } = batch
    if (attention.kind === 'masked') return this.row(lengths[0])
    return ops.cat(lengths.map((length, i) => {
      const row = this.row(length)
      return ops.expand(row, [attention.offsets[i + 1] - attention.offsets[i], row.shape[1]])
    }), 0)
  }

  private row(length: number): Tensor {
    const frequencies = inverseFrequencies(this.positions, length)
    return onDevice(tensor(frequencies, [1, frequencies.length]), this.device)
  }
}
