import { ops, type Tensor } from 'fettle-native'
import { inType } from '../device'
import { plainActivation } from './plain-activation'
import { plainAttention } from './plain-attention'
import { plainHead } from './plain-head'
import { plainHeadNorm } from './plain-head-norm'
import { plainLinear } from './plain-linear'
import { plainNorm } from './plain-norm'
import { plainRotary } from './plain-rotary'
import type { Blocks, EmbeddingBlock, Weight } from './types'

const plainEmbedding: EmbeddingBlock = {
  forward: (ids, weight) => ops.embedding(weight.value, ids),
  backward: (grad, ids, weight) => addRows(weight, ids, grad),
}

/** Adds gradients of rows to a table's. */
export function addRows({ grad: sum }: Weight, rows: Tensor, grad: Tensor): void {
  if (sum !== null) ops.index_add_(sum, 0, rows, inType(grad, 'float32'))
}

/** The blocks as ATen operators with autograd inside each: runs on every device and is what fused forms are tested against. */
export function plainBlocks(): Blocks {
  return {
    form: 'plain', embedding: plainEmbedding, norm: plainNorm, linear: plainLinear, headNorm: plainHeadNorm, rotary: plainRotary,
    attention: plainAttention, activation: plainActivation, head: plainHead,
    weightsChanged: () => undefined, reserve: () => undefined, bytes: () => 0, free: () => undefined,
  }
}
