import { inspect, ops, Tensor } from 'fettle-native'

/** Where GPU tests run; without a GPU they are skipped by name. */
export const gpu = 'cuda:0'
export const skip = inspect().devices.some((d) => d.kind === 'cuda') ? false : 'needs a CUDA GPU'

/** Plain data with all its tensors on the GPU. */
export function onGpu<T>(data: T): T {
  if (data instanceof Tensor) return ops.to(data, { device: gpu }) as T
  if (Array.isArray(data)) return data.map(onGpu) as T
  if (typeof data === 'object' && data !== null && Object.getPrototypeOf(data) === Object.prototype) return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, onGpu(value)])) as T
  return data
}

export const onCpu = (t: Tensor): Tensor => ops.to(t, { device: 'cpu' })
