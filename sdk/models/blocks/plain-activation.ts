import { ops, type Tensor } from 'fettle-native'
import { activationInput, record, replay } from './recorded'
import type { ActivationBlock, ActivationShape } from './types'

const functions: Record<ActivationShape['activation'], (x: Tensor) => Tensor> = {
  silu: (x) => ops.silu(x), gelu: (x) => ops.gelu(x), gelu_tanh: (x) => ops.gelu(x, { approximate: 'tanh' }), relu: (x) => ops.relu(x),
}

/** SwiGLU and its kin (arXiv 2002.05202): `act(gate) · up`; or the plain function. */
export const plainActivation: ActivationBlock = {
  forward: (x, { kind, activation, width }, _place, context) => record([activationInput(x)], context, ([input]) => {
    if (kind === 'plain') return functions[activation](input)
    const [gate, up] = ops.split_sizes(input, [width, width], 1)
    return ops.mul(functions[activation](gate), up)
  }),
  backward: (grad, saved) => replay(grad, saved)[0] as Tensor,
}
