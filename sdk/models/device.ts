import { devices, ops, type Device, type DType, type Tensor } from 'fettle-native'
import { EnvironmentError } from '../errors'

/**
 * The device to compute on: `auto` is the first GPU where there is one, else the CPU.
 * @param words how the caller's user asks for a GPU, and for the CPU instead
 * @throws EnvironmentError `device.missing` when `cuda` is asked for and there is no GPU
 */
export function chooseDevice(asked: 'auto' | 'cpu' | 'cuda', words: { readonly gpu: string; readonly instead: string }): Device {
  const gpu = asked === 'cpu' ? undefined : devices().find(({ kind }) => kind === 'cuda')
  if (asked === 'cuda' && gpu === undefined) throw new EnvironmentError('device.missing', `expected a GPU for ${words.gpu}, found none; try ${words.instead}`, { device: asked })
  return gpu?.device ?? 'cpu'
}

/** The tensor on `device`: itself when it is there already. `cuda` is the first GPU. */
export function onDevice(value: Tensor, device: Device): Tensor {
  return value.device === device || value.device === `${device}:0` ? value : ops.to(value, { device })
}

/** The tensor in `dtype`: itself when it has it already. */
export function inType(value: Tensor, dtype: DType): Tensor {
  return value.dtype === dtype ? value : ops.to_dtype(value, dtype)
}
