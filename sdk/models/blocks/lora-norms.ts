import { ops, type Tensor } from 'fettle-native'
import { inType } from '../device'
import type { LoraPart } from './types'

/**
 * ‖W + s·BA‖ of each row, computed in fp32.
 * @param sum over the ranks that hold the other columns of W and A; `null`: they are whole
 */
export function rowNorms(weight: Tensor, a: Tensor, b: Tensor, part: Pick<LoraPart, 'rankStart' | 'rank' | 'scale'>, sum: ((squares: Tensor) => void) | null = null): Tensor {
  const merged = ops.add(inType(weight, 'float32'), ops.mm(inType(b, 'float32'), inType(ops.narrow(a, 0, part.rankStart, part.rank), 'float32')), { alpha: part.scale })
  const norms = ops.linalg_vector_norm(merged, 2, 1)
  if (sum === null) return inType(norms, weight.dtype)
  const squares = ops.mul(norms, norms)
  sum(squares)
  return inType(ops.sqrt(squares), weight.dtype)
}
