import { ops, type Device, type DType, type Tensor } from 'fettle-native'

/** The tensor on `device`: itself when it is there already. */
export function onDevice(value: Tensor, device: Device): Tensor {
  return value.device === device ? value : ops.to(value, value.dtype, device)
}

/** The tensor in `dtype`: itself when it has it already. */
export function inType(value: Tensor, dtype: DType): Tensor {
  return value.dtype === dtype ? value : ops.to(value, dtype, value.device)
}
