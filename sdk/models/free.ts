import { keep, Tensor } from 'fettle-native'

/** Frees every tensor that plain data (arrays, objects) reaches. Tensors already freed are left alone. */
export function freeAll(data: unknown): void {
  if (data instanceof Tensor) { if (data.alive) data.free() }
  else if (Array.isArray(data)) data.forEach(freeAll)
  else if (typeof data === 'object' && data !== null) Object.values(data).forEach(freeAll)
}

/** Keeps every tensor that plain data reaches beyond the scope that it was made in, until `freeAll`. @returns the same data */
export function keepAll<T>(data: T): T {
  if (data instanceof Tensor) keep(data)
  else if (typeof data === 'object' && data !== null) Object.values(data).forEach(keepAll)
  return data
}
