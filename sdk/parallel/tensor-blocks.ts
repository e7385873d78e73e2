import { noGrad, ops, scope, type Device, type ProcessGroup, type Tensor } from 'fettle-native'
import type { Blocks, BlockContext, EmbeddingBlock, Forward, LinearBlock, LinearWeights, Place, Weight } from '../models/blocks/types'
import { addRows } from '../models/blocks/plain'
import { noiseSeed, withSeed } from '../models/noise'
import type { Stretch } from '../models/share'
import { vocabularyHead } from './vocabulary-head'

/** What tensor ranks know of each other. */
export interface TensorRank {
  readonly group: ProcessGroup
  /** Rows of the vocabulary that this rank holds. */
  readonly vocabulary: Stretch
  readonly vocabSize: number
}

/**
 * Blocks over matrices that tensor ranks divide between them (Megatron-LM, arXiv 1909.08053). Each rank runs the same
 * blocks on its cut; what they put out is joined here. q/k/v and up are cut by rows: each rank's output is its own, and
 * gradients of their input are summed. out and down are cut by columns: outputs are summed, bias and residual added
 * once, behind. Hidden states are whole, and the same bits, on every rank.
 */
export function tensorBlocks(blocks: Blocks, tensor: TensorRank): Blocks {
  return {
    form: blocks.form, norm: blocks.norm, headNorm: blocks.headNorm, rotary: blocks.rotary, attention: blocks.attention, activation: blocks.activation,
    embedding: cutEmbedding(blocks, tensor), linear: cutLinear(blocks.linear, tensor.group), head: vocabularyHead(tensor),
    weightsChanged: () => blocks.weightsChanged(), reserve: (tokens) => blocks.reserve(tokens), free: () => blocks.free(),
  }
}

/** Each rank looks up the tokens whose rows it holds; the others' are zero in the sum. */
function cutEmbedding({ embedding }: Blocks, { group, vocabulary: { start, length } }: TensorRank): EmbeddingBlock {
  const own = (ids: Tensor): { rows: Tensor; foreign: Tensor } => {
    const shifted = ops.sub(ids, start), foreign = ops.logical_or(ops.lt(shifted, 0), ops.ge(shifted, length))
    return { rows: ops.masked_fill_(shifted, foreign, 0), foreign: ops.unsqueeze(foreign, 1) }
  }
  return {
    forward(ids, weight, context) {
      const { rows, foreign } = own(ids)
      const found = ops.masked_fill_(ops.alias(embedding.forward(rows, weight, context)), foreign, 0)
      group.allReduce(found)
      return found
    },
    backward(grad: Tensor, ids: Tensor, weight: Weight) {
      if (weight.grad === null) return
      const { rows, foreign } = own(ids)
      addRows(weight, rows, ops.masked_fill(grad, foreign, 0))
    },
  }
}

function cutLinear(linear: LinearBlock, group: ProcessGroup): LinearBlock {
  return {
    forward(x, residual, weights, place, context) {
      if (!byColumns(place)) return linear.forward(x, residual, weights, place, context)
      const run = (): Forward => linear.forward(x, null, withoutBias(weights), place, context)
      const partial = drops(weights, context) ? ownRandomness(group.rank, x.device, run) : run()
      group.allReduce(partial.out)
      noGrad(() => {
        if (weights.bias !== null) ops.add_(partial.out, weights.bias.value)
        if (residual !== null) ops.add_(partial.out, residual)
      })
      return partial
    },
    backward(grad, saved, weights, place) {
      if (byColumns(place)) {
        const sum = weights.bias?.grad ?? null
        if (sum !== null) scope(() => ops.add_(sum, ops.sum_dim(grad, [0], false, { dtype: 'float32' })))
        return linear.backward(grad, saved, withoutBias(weights), place)
      }
      const gradX = linear.backward(grad, saved, weights, place)
      if (byRows(place)) group.allReduce(gradX)
      return gradX
    },
  }
}

function byColumns({ id }: Place): boolean { return id === 'out' || id === 'down' }
function byRows({ id }: Place): boolean { return id === 'qkv' || id === 'up' }
function withoutBias(weights: LinearWeights): LinearWeights { return weights.bias === null ? weights : { ...weights, bias: null } }
function drops({ lora }: LinearWeights, { dropout }: BlockContext): boolean { return dropout && lora !== null && lora.dropout > 0 }

/**
 * Dropout of what ranks divide must differ between them, while that of what all hold must be the same. The generator, which
 * is at the same place on all ranks, gives a seed, from which each rank goes its own way; what runs again draws it again.
 */
function ownRandomness<T>(rank: number, device: Device, run: () => T): T {
  const drawn = scope(() => Math.floor(ops.rand([1], { dtype: 'float32', device }).item() * 2 ** 24))
  return withSeed(noiseSeed(drawn, rank, 0), device, run)
}
