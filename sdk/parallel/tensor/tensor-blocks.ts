import { noGrad, ops, scope, type Device, type ProcessGroup, type Tensor } from 'fettle-native'
import type { Blocks, BlockContext, DividedTokens, EmbeddingBlock, Forward, LinearBlock, LinearWeights, Place, Saved, Weight } from '../../models/blocks/types'
import { addRows } from '../../models/blocks/plain'
import { noiseSeed, withSeed } from '../../models/noise'
import type { Stretch } from '../../models/share'
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
 * @param sequence between the matrices ranks divide the tokens instead (arXiv 2205.05198)
 */
export function tensorBlocks(blocks: Blocks, tensor: TensorRank, sequence: boolean): Blocks {
  const tokens = sequence ? dividedTokens(tensor.group) : undefined
  return {
    ...(tokens === undefined ? {} : { tokens }),
    form: blocks.form, norm: blocks.norm, headNorm: blocks.headNorm, rotary: blocks.rotary, attention: blocks.attention, activation: blocks.activation,
    embedding: cutEmbedding(blocks, tensor), linear: tokens === undefined ? cutLinear(blocks.linear, tensor.group) : sequenceLinear(blocks.linear, tensor.group, tokens), head: vocabularyHead(tensor),
    weightsChanged: () => blocks.weightsChanged(), reserve: (tokens) => blocks.reserve(tokens), bytes: () => blocks.bytes(), free: () => blocks.free(),
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
      const partial = partOfSum(linear, group, x, weights, place, context)
      group.allReduce(partial.out)
      addBehind(partial.out, weights, residual)
      return partial
    },
    backward(grad, saved, weights, place) {
      if (byColumns(place)) {
        addBiasGradient(grad, weights)
        return linear.backward(grad, saved, withoutBias(weights), place)
      }
      const gradX = linear.backward(grad, saved, weights, place)
      if (byRows(place)) group.allReduce(gradX)
      return gradX
    },
  }
}

/** What this rank's columns of a matrix give of its output: bias and residual come behind the sum, once. */
function partOfSum(linear: LinearBlock, group: ProcessGroup, x: Tensor, weights: LinearWeights, place: Place, context: BlockContext): Forward {
  const run = (): Forward => linear.forward(x, null, withoutBias(weights), place, context)
  return drops(weights, context) ? ownRandomness(group.rank, x.device, run) : run()
}

function addBehind(out: Tensor, { bias }: LinearWeights, residual: Tensor | null): void {
  noGrad(() => {
    if (bias !== null) ops.add_(out, bias.value)
    if (residual !== null) ops.add_(out, residual)
  })
}

function addBiasGradient(grad: Tensor, { bias }: LinearWeights): void {
  const sum = bias?.grad ?? null
  if (sum !== null) scope(() => ops.add_(sum, ops.sum_dim(grad, [0], false, { dtype: 'float32' })))
}

/** A record of a linear layer, and how many tokens its pass had. */
interface SequenceSaved { readonly inner: Saved; readonly tokens: number }

/**
 * The same where each rank holds some of the tokens between the matrices: what comes in is gathered, and outputs are
 * summed into the rows of each. As many bytes pass as before, and norms, residuals and their records are divided.
 */
function sequenceLinear(linear: LinearBlock, group: ProcessGroup, divided: ExchangedTokens): LinearBlock {
  const record = ({ out, saved }: Forward, tokens: number): Forward => ({ out, saved: saved === null ? null : { inner: saved, tokens } satisfies SequenceSaved })
  return {
    forward(x, residual, weights, place, context) {
      const { tokens } = context
      if (byRows(place)) return record(linear.forward(divided.all(x, tokens), null, weights, place, context), tokens)
      if (!byColumns(place)) return record(linear.forward(x, residual, weights, place, context), tokens)
      const partial = partOfSum(linear, group, x, weights, place, context)
      const out = noGrad(() => divided.sum(partial.out))
      addBehind(out, weights, residual)
      return record({ out, saved: partial.saved }, tokens)
    },
    backward(grad, saved, weights, place) {
      const { inner, tokens } = saved as SequenceSaved
      if (byRows(place)) return divided.sum(linear.backward(grad, inner, weights, place))
      if (!byColumns(place)) return linear.backward(grad, inner, weights, place)
      addBiasGradient(grad, weights)
      return linear.backward(divided.all(grad, tokens), inner, withoutBias(weights), place)
    },
  }
}

/** Tokens that ranks divide: gathered, and summed into the rows of each. */
interface ExchangedTokens extends DividedTokens {
  /** `[tokens, width]` of which each rank has a part of the sum → this rank's rows of it. */
  sum(part: Tensor): Tensor
}

function dividedTokens(group: ProcessGroup): ExchangedTokens {
  const { size, rank } = group, rows = (tokens: number): number => Math.ceil(tokens / size)
  const padded = (x: Tensor): Tensor => {
    const [tokens, width] = x.shape, missing = rows(tokens) * size - tokens
    return missing === 0 ? ops.contiguous(x) : ops.cat([x, ops.zeros([missing, width], { dtype: x.dtype, device: x.device })])
  }
  return {
    rows,
    own: (x) => scope(() => ops.clone(ops.narrow(padded(x), 0, rank * rows(x.shape[0]), rows(x.shape[0])))),
    all: (own, tokens) => scope(() => {
      const out = ops.empty([own.shape[0] * size, own.shape[1]], { dtype: own.dtype, device: own.device })
      group.allGather(out, ops.contiguous(own))
      return ops.narrow(out, 0, 0, tokens)
    }),
    sum: (part) => scope(() => {
      const sent = padded(part), pieces = ops.empty_like(sent)
      group.allToAll(pieces, sent)
      return ops.sum_dim(ops.view(pieces, [size, rows(part.shape[0]), part.shape[1]]), [0])
    }),
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
