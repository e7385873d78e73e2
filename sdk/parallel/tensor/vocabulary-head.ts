import { noGrad, ops, scope, tensor, type Tensor } from 'fettle-native'
import type { HeadBlock, HeadWeights } from '../../models/blocks/types'
import { chunkRows, headGradient, logitsOf } from '../../models/blocks/plain-head'
import { onDevice } from '../../models/device'
import { vocabularyOf } from '../../models/share'
import type { TensorRank } from './tensor-blocks'

/**
 * Head and cross-entropy over a vocabulary that tensor ranks divide between them. Logits are never gathered: ranks tell
 * each other, for each row, their largest logit, their sum of exponentials and the label's logit, three numbers a row.
 */
export function vocabularyHead({ group, vocabulary: { start, length }, vocabSize }: TensorRank): HeadBlock {
  return {
    loss(hidden, labels, weights, { scale, gradient }) {
      return noGrad(() => {
        const { device } = hidden
        const lossSum = ops.zeros([], { dtype: 'float32', device }), correct = ops.zeros([], { dtype: 'int64', device })
        const gradHidden = gradient ? ops.empty_like(hidden) : null
        const chunk = chunkRows(length)
        for (let from = 0; from < hidden.shape[0]; from += chunk) {
          const rows = Math.min(chunk, hidden.shape[0] - from)
          scope(() => {
            const part = ops.narrow(hidden, 0, from, rows), label = ops.unsqueeze(ops.narrow(labels, 0, from, rows), 1)
            const { logProbabilities, own, mine, lost, hits } = chunkLoss(part, label, weights)
            ops.add_(lossSum, lost)
            ops.add_(correct, hits)
            if (gradHidden !== null) headGradient(ops.exp_(logProbabilities), own, mine, part, ops.narrow(gradHidden, 0, from, rows), weights, scale)
          })
        }
        if (gradHidden !== null) group.allReduce(gradHidden)
        return { lossSum, correct, gradHidden }
      })
    },
    logits: (hidden, weights) => noGrad(() => scope(() => {
      const own = logitsOf(hidden, weights), rows = hidden.shape[0], most = Math.ceil(vocabSize / group.size)
      const padded = ops.zeros([rows, most], { dtype: 'float32', device: own.device }), all = ops.empty([group.size * rows, most], { dtype: 'float32', device: own.device })
      ops.copy_(ops.narrow(padded, 1, 0, length), own)
      group.allGather(all, padded)
      const widths = Array.from({ length: group.size }, (_, index) => vocabularyOf({ vocabSize }, { index, count: group.size }).length)
      return ops.cat(widths.map((width, r) => ops.narrow(ops.narrow(all, 0, r * rows, rows), 1, 0, width)), 1)
    })),
  }

  /** Sums of one chunk; `own` are the labels as rows of this rank, of which `mine` are. */
  function chunkLoss(part: Tensor, label: Tensor, weights: HeadWeights): { logProbabilities: Tensor; own: Tensor; mine: Tensor; lost: Tensor; hits: Tensor } {
    const logits = logitsOf(part, weights), largest = ops.amax(logits, 1, true), ownLargest = ops.argmax(logits, 1, true)
    const best = ops.clone(largest)
    group.allReduce(best, 'max')
    const shifted = ops.sub(logits, best)
    const local = ops.sub(label, start), mine = ops.logical_and(ops.ge(local, 0), ops.lt(local, length)), own = ops.masked_fill(local, ops.logical_not(mine), 0)
    // Sum of exponentials and the label's logit, side by side.
    const sums = ops.cat([ops.sum_dim(ops.exp(shifted), [1], true), ops.mul(ops.gather(shifted, 1, own), mine)], 1)
    // Of equal largest logits the first counts, as in argmax.
    const first = ops.where(ops.eq(largest, best), ops.add(ownLargest, start), onDevice(tensor([BigInt(vocabSize)]), part.device))
    group.allReduce(sums)
    group.allReduce(first, 'min')
    const logSum = ops.log(ops.narrow(sums, 1, 0, 1)), labelLogit = ops.narrow(sums, 1, 1, 1)
    return { logProbabilities: ops.sub_(shifted, logSum), own, mine, lost: ops.sum(ops.sub(logSum, labelLogit)), hits: ops.sum(ops.eq(first, label)) }
  }
}
