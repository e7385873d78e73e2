import { ops, type Tensor } from 'fettle-native'
import { inType } from '../device'
import type { LoraPart } from './types'

/** ‖W + s·BA‖ of each row, computed in fp32. */
export function rowNorms(weight: Tensor, a: Tensor, b: Tensor, part: Pick<LoraPart, 'rankStart' | 'rank' | 'scale'>): Tensor {
  const merged = ops.add(inType(weight, 'float32'), ops.mm(inType(b, 'float32'), inType(ops.narrow(a, 0, part.rankStart, part.rank), 'float32')), { alpha: part.scale })
  return inType(ops.linalg_vector_norm(merged, 2, 1), weight.dtype)
}
