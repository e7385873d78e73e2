import { manualSeed, ops, scope, tensor, type ProcessGroup, type Tensor } from 'fettle-native'
import type { Batch } from '../models/batch'
import type { Decoder } from '../models/decoder'
import { shardsOfMicroBatch } from '../train/cut'
import { walkAll, type ParallelStep } from '../train/step'
import type { WalkOptions } from '../train/walk'
import type { Ranks } from './ranks'

/** A shard of a micro-batch: rows that are computed by themselves, and the seed of what is random in them. */
export interface ShardBatch extends Batch { readonly shard: { readonly micro: number; readonly index: number; readonly seed: number } }

/**
 * A step whose sums do not depend on the number of data-parallel ranks, bit for bit: each micro-batch is cut into the same
 * shards, each shard's gradient is made by itself, and gradients and losses are summed in one fixed tree,
 * ((0 + 1) + (2 + 3)), whose lower branches are a rank's own where it has several shards. It costs small batches, a copy of
 * the gradient for each level of the tree, and a collective for each micro-batch.
 */
export function deterministicStep(ranks: Ranks, decoder: Decoder, micros: () => number): ParallelStep {
  const { data, world } = ranks.groups, { index, count } = ranks.data, own = shardsOfMicroBatch / count
  return {
    walk(_decoder, batches, options) {
      const { grad } = decoder.parameters.flat!
      return scope(() => {
        const total = ops.zeros_like(grad)
        let lossSum = 0, correct = 0
        for (let micro = 0; micro < micros(); micro++) {
          const found = batches.filter((batch) => (batch as ShardBatch).shard.micro === micro) as ShardBatch[]
          scope(() => {
            const sums = Array.from({ length: shardsOfMicroBatch }, () => ({ lossSum: 0, correct: 0 }))
            const root = branch(decoder, found, options, index * own, own, sums)
            ops.add_(total, data === null ? root : treeSum(data, root))
            const all = shared(sums, world)
            lossSum += tree(all.map((each) => each.lossSum))
            correct += tree(all.map((each) => each.correct))
          })
        }
        ops.copy_(grad, total)
        return { lossSum, correct }
      })
    },
    reduce: () => undefined,
    squares: () => scope(() => ops.linalg_vector_norm(decoder.parameters.flat!.grad).item()) ** 2,
    sum: (parts) => [...parts],
  }
}

/** Gradient of `length` shards from `first` on, summed as the tree has them. */
function branch(decoder: Decoder, found: readonly ShardBatch[], options: WalkOptions, first: number, length: number, sums: { lossSum: number; correct: number }[]): Tensor {
  if (length > 1) {
    const half = length / 2, left = branch(decoder, found, options, first, half, sums)
    return ops.add_(left, branch(decoder, found, options, first + half, half, sums))
  }
  decoder.parameters.zeroGrad()
  const batch = found.find(({ shard }) => shard.index === first)
  if (batch !== undefined) {
    manualSeed(batch.shard.seed)
    sums[first] = walkAll(decoder, [batch], options)
  }
  return ops.clone(decoder.parameters.flat!.grad)
}

/** Sums over ranks as a tree: each rank sums one piece of all, and the pieces are gathered. */
export function treeSum(group: ProcessGroup, own: Tensor): Tensor {
  const { size } = group, share = Math.ceil(own.numel / size)
  const sent = ops.zeros([share * size], { dtype: own.dtype, device: own.device }), pieces = ops.empty_like(sent), all = ops.empty_like(sent)
  ops.copy_(ops.narrow(sent, 0, 0, own.numel), own)
  group.allToAll(pieces, sent)
  const rows = ops.view(pieces, [size, share])
  group.allGather(all, ops.contiguous(treeOf(Array.from({ length: size }, (_, r) => ops.select(rows, 0, r)))))
  return ops.narrow(all, 0, 0, own.numel)
}

function treeOf(parts: readonly Tensor[]): Tensor {
  if (parts.length === 1) return parts[0]
  const half = parts.length / 2
  return ops.add(treeOf(parts.slice(0, half)), treeOf(parts.slice(half)))
}

function tree(parts: readonly number[]): number {
  if (parts.length === 1) return parts[0]
  return tree(parts.slice(0, parts.length / 2)) + tree(parts.slice(parts.length / 2))
}

/** The sums of all shards: adding the zeros of the other ranks changes none. @param group of numbers on the CPU */
function shared(sums: readonly { lossSum: number; correct: number }[], group: ProcessGroup | null): readonly { lossSum: number; correct: number }[] {
  if (group === null) return sums
  const both = tensor(Float64Array.from(sums.flatMap(({ lossSum, correct }) => [lossSum, correct])))
  group.allReduce(both)
  const values = both.toArray()
  return sums.map((_, i) => ({ lossSum: values[2 * i], correct: values[2 * i + 1] }))
}
