import { call, keep, ops, scope, tensor, type Device, type Tensor } from 'fettle-native'
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
  const { dim, scaling } = positions
  let theta = positions.theta
  if (scaling.kind === 'dynamic') {
    // NTK-aware: a longer sequence raises the base instead of squeezing positions.
    const ratio = (scaling.factor * Math.max(length, scaling.originalMaxPositions)) / scaling.originalMaxPositions - (scaling.factor - 1)
    theta *= ratio ** (dim / (dim - 2))
  }
  const exponents = Float32Array.from({ length: dim / 2 }, (_, i) => (2 * i) / dim)
  const wavelengths = scope(() => (call('aten::pow', 'Scalar', theta, tensor(exponents)) as Tensor).toFloat32Array())
  return wavelengths.map((wavelength) => {
    const frequency = f32(1 / wavelength)
    if (scaling.kind === 'linear') return frequency / scaling.factor
    return scaling.kind === 'llama3' ? llama3(frequency, scaling) : frequency
  })
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
  private readonly positions: RotaryPositions

  constructor(architecture: Architecture, private readonly device: Device) {
    this.positions = architecture.positions
    this.frequencies = this.positions.scaling.kind === 'dynamic' ? null : keep(scope(() => this.row(0)))
  }

  tables(batch: Batch): RopeTables {
    const angles = ops.mul(ops.unsqueeze(inType(batch.positions, 'float32'), 1), this.frequencies ?? this.perToken(batch))
    return { cos: ops.cos(angles), sin: ops.sin(angles) }
  }

  free(): void { this.frequencies?.free() }

  /** Dynamic scaling: each sequence by its own length, so that a packed row gives what it gives alone. */
  private perToken(batch: Batch): Tensor {
    const { attention, lengths } = batch
    if (attention.kind === 'masked') return this.row(lengths[0])
    return ops.cat(lengths.map((length, i) => ops.expand(this.row(length), [attention.offsets[i + 1] - attention.offsets[i], this.positions.dim / 2])), 0)
  }

  private row(length: number): Tensor {
    return onDevice(tensor(inverseFrequencies(this.positions, length), [1, this.positions.dim / 2]), this.device)
  }
}
