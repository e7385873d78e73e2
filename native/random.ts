import { native } from './library'
import { fromBytes, Tensor } from './tensor'
import type { Device } from './types'

/** Seeds the default generators of all devices, as `torch.manual_seed` does: the same stream of numbers follows. */
export function manualSeed(seed: number): void {
  native().manualSeed(seed)
}

/** The state of a device's default generator, to be stored in a checkpoint. */
export function getRngState(device: Device = 'cpu'): Uint8Array {
  const state = new Tensor(native().rngState(device))
  try {
    return state.toBytes()
  } finally {
    state.free()
  }
}

/** Restores a state of {@link getRngState}. */
export function setRngState(bytes: Uint8Array, device: Device = 'cpu'): void {
  const state = fromBytes(bytes, [bytes.length], 'uint8')
  try {
    native().setRngState(device, state.handle)
  } finally {
    state.free()
  }
}
