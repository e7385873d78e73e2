import { scope } from 'fettle-native'
import type { Batch } from '../models/batch'
import type { Decoder } from '../models/decoder'
import { walkAll, type ParallelStep } from '../train/step'
import type { WalkOptions } from '../train/walk'
import { Gradients, sumOver } from './gradients'
import { StagePipe, walkStage } from './pipeline/pipeline'
import type { Ranks } from './ranks'

/** The part of a step that ranks take together. `null` for a rank that is alone. */
export function parallelStep(ranks: Ranks, decoder: Decoder): ParallelStep | null {
  if (ranks.size === 1) return null
  const gradients = new Gradients(ranks, decoder.parameters), { parameters } = decoder
  const hooks = parameters.hooks
  parameters.hooks = { enter: (layer) => hooks?.enter(layer), done: (layer) => gradients.done(layer) }
  return {
    walk(_decoder, batches, options) {
      const sums = decoder.pipe instanceof StagePipe ? stage(decoder, decoder.pipe, batches, options, gradients) : inOrder(decoder, batches, options, gradients)
      // Tensor ranks all find the same sums.
      return ranks.place.tp === 0 ? sums : { lossSum: 0, correct: 0 }
    },
    reduce: () => gradients.finish(),
    squares: () => gradients.squares(),
    sum: (parts) => sumOver(ranks, parts),
  }
}

function stage(decoder: Decoder, pipe: StagePipe, batches: readonly Batch[], options: WalkOptions, gradients: Gradients): { lossSum: number; correct: number } {
  if (batches.length === 0) return { lossSum: 0, correct: 0 }
  return scope(() => {
    const { lossSum, correct } = walkStage(decoder, pipe, batches, { ...options, lastFollows: (isLast) => gradients.lastFollows(isLast) })
    return { lossSum: lossSum.item(), correct: correct.item() }
  })
}

function inOrder(decoder: Decoder, batches: readonly Batch[], options: WalkOptions, gradients: Gradients): { lossSum: number; correct: number } {
  return batches.reduce((sums, batch, i) => {
    gradients.lastFollows(i === batches.length - 1)
    const own = walkAll(decoder, [batch], batch.ghost ? { ...options, scale: 0 } : options)
    return batch.ghost ? sums : { lossSum: sums.lossSum + own.lossSum, correct: sums.correct + own.correct }
  }, { lossSum: 0, correct: 0 })
}
