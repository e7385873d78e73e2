import { noGrad, ops, type Tensor } from 'fettle-native'
import type { HeadShape, RopeTables, RotaryBlock } from './types'

/** Rotary positions (arXiv 2104.09864) on the queries and keys of a joined qkv. A rotation's gradient is the rotation back. */
export const plainRotary: RotaryBlock = {
  forward: (qkv, shape, _place, context) => noGrad(() => rotate(qkv, shape, context.rope, context.rope.sin)),
  backward: (grad, shape, _place, context) => noGrad(() => rotate(grad, shape, context.rope, ops.neg(context.rope.sin))),
}

function rotate(qkv: Tensor, { heads, kvHeads, headDim, rotary }: HeadShape, { cos }: RopeTables, sin: Tensor): Tensor {
  const tokens = qkv.shape[0], turned = heads + kvHeads, half = rotary.dim / 2
  const all = ops.narrow(ops.view(qkv, [tokens, turned + kvHeads, headDim]), 1, 0, turned)
  const [first, second] = rotary.layout === 'half'
    ? [ops.narrow(all, 2, 0, half), ops.narrow(all, 2, half, half)]
    : [ops.slice(all, 2, 0, rotary.dim, 2), ops.slice(all, 2, 1, rotary.dim, 2)]
  // Tables are fp32, so that the products are too, whatever the heads' type; only the result is rounded.
  const c = ops.unsqueeze(cos, 1), s = ops.unsqueeze(sin, 1)
  const turnedFirst = ops.sub(ops.mul(first, c), ops.mul(second, s))
  const turnedSecond = ops.add(ops.mul(second, c), ops.mul(first, s))
  ops.copy_(first, turnedFirst)
  ops.copy_(second, turnedSecond)
  return qkv
}
