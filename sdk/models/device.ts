import { ops, type Device, type DType, type Tensor } from 'fettle-native'

/** The tensor on `device`: itself when it is there already. `cuda` is the first GPU. */
export function onDevice(value: Tensor, device: Device): Tensor {
  return value.device === device || value.device === `${device}:0` ? value : ops.to(value, { device })
}

/** The tensor in `dtype`: itself when it has it already. */
export function inType(value: Tensor, dtype: DType): Tensor {
  return value.dtype === dtype ? value : ops.to_dtype(value, dtype)
}
