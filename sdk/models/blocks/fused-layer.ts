import { call, type Tensor } from 'fettle-native'
import { addedOf } from './fused-cached'
import { fewRows } from './fused-linear'
import type { BlockContext, DecodeBlock, LinearWeights, NormWeights, WholeLayer } from './types'
import type { Workspace } from './fused-workspace'

/** Llama's layer in one call: RMS norms before each half, rotary positions of one axis, SwiGLU, no adapter. Others run block by block. */
export function fusedDecode(workspace: Workspace): DecodeBlock {
  return {
    forward(x, layer, index, context) {
      const { attention, rope } = context
      if (attention.kind !== 'cached' || !serves(layer, x, context)) return null
      workspace.enter(context)
      const { inputNorm, postNorm, qkv, out, up, down, shape } = layer, { heads, kvHeads, headDim, scale } = shape, { dim, layout } = shape.rotary!
      const { keys, values } = attention.cache.layer(index), result = workspace.saved({ layer: index, id: 'down' }, context, 'out', x.shape[0], x.shape[1], x.dtype)
      call('fettle::decode_layer', '', x, inputNorm.weight.value, inputNorm.eps, ...weightsOf(qkv), rope!.cos, rope!.sin, dim, layout === 'interleaved', keys, values,
        attention.lengths, addedOf(shape, context), heads, kvHeads, headDim, scale, ...weightsOf(out), postNorm.weight.value, postNorm.eps, ...weightsOf(up), ...weightsOf(down), result)
      return result
    },
  }
}

function serves({ inputNorm, postNorm, outNorm, downNorm, queryKeyNorm, qkv, out, up, down, shape, activation, order }: WholeLayer, x: Tensor, { rope }: BlockContext): boolean {
  const plainNorms = [inputNorm, postNorm].every(isRms) && outNorm === null && downNorm === null && queryKeyNorm === null
  const plainOrder = order.norm === 'before' && order.residual === 'input' && order.scale === 1
  const turned = shape.layout === 'separate' && shape.rotary?.axes === 1 && rope?.queryScale === null
  return x.shape[0] <= fewRows && plainNorms && plainOrder && turned && activation.kind === 'gated' && activation.activation === 'silu' && [qkv, out, up, down].every(({ lora }) => lora === null)
}

const isRms = ({ kind, offset }: NormWeights): boolean => kind === 'rms' && offset === 0
const weightsOf = ({ weight, bias }: LinearWeights): [Tensor, Tensor | null] => [weight.value, bias?.value ?? null]
