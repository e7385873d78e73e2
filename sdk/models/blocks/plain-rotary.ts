import { noGrad, ops, type Tensor } from 'fettle-native'
import { grouped, groupsOf } from './heads'
import type { HeadShape, RopeTables, RotaryBlock } from './types'

/** Rotary positions (arXiv 2104.09864) on the queries and keys of a joined qkv. A rotation's gradient is the rotation back. */
export const plainRotary: RotaryBlock = {
  forward: (qkv, shape, _place, { rope }) => noGrad(() => scaleQueries(rotate(qkv, shape, rope!, rope!.sin), shape, rope!)),
  backward: (grad, shape, _place, { rope }) => noGrad(() => scaleQueries(rotate(grad, shape, rope!, ops.neg(rope!.sin)), shape, rope!)),
}

function rotate(qkv: Tensor, shape: HeadShape, { cos }: RopeTables, sin: Tensor): Tensor {
  const { dim, layout, axes } = shape.rotary!, { queries, keys } = groupsOf(shape)
  const turned = ops.narrow(ops.narrow(grouped(qkv, shape), 2, 0, queries + keys), 3, 0, dim)
  // Each axis turns its own stretch of the head: pairs are its two halves, or neighbours.
  const half = dim / axes / 2
  const pairs = layout === 'half' ? ops.unflatten(turned, 3, [axes, 2, half]) : ops.transpose(ops.unflatten(turned, 3, [axes, half, 2]), 4, 5)
  const first = ops.select(pairs, 4, 0), second = ops.select(pairs, 4, 1)
  // Tables are fp32, so that the products are too, whatever the heads' type; only the result is rounded.
  const table = (values: Tensor): Tensor => ops.view(values, [values.shape[0], 1, 1, axes, half])
  const c = table(cos), s = table(sin)
  const turnedFirst = ops.sub(ops.mul(first, c), ops.mul(second, s))
  const turnedSecond = ops.add(ops.mul(second, c), ops.mul(first, s))
  ops.copy_(first, turnedFirst)
  ops.copy_(second, turnedSecond)
  return qkv
}

/** Scaling commutes with the rotation, and its gradient is the same scaling. */
export function scaleQueries(qkv: Tensor, shape: HeadShape, { queryScale }: RopeTables): Tensor {
  if (queryScale === null) return qkv
  const queries = ops.narrow(grouped(qkv, shape), 2, 0, groupsOf(shape).queries)
  ops.copy_(queries, ops.mul(queries, ops.view(queryScale, [qkv.shape[0], 1, 1, 1])))
  return qkv
}
