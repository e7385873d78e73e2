import { noGrad, scope } from 'fettle-native'
import type { RowReader } from '../data/dataset'
import { packBatch, type Batch } from '../models/batch'
import type { Decoder } from '../models/decoder'

export interface EvaluateResult {
  /** Mean of −log p(label) over all supervised tokens. NaN when there is none. */
  readonly loss: number
  /** exp(loss) */
  readonly perplexity: number
  /** Share of supervised positions whose argmax is the label. */
  readonly accuracy: number
  readonly supervised: number
}

/** Loss, perplexity and token accuracy over all rows of a split, `size` rows at a time. */
export function evaluateRows(decoder: Decoder, rows: RowReader, size: number): EvaluateResult {
  return scope(() => evaluate(decoder, batches(rows, size, decoder.parameters.device)))
}

/** Loss, perplexity and token accuracy over batches, weighted by token, without gradients or dropout. */
export function evaluate(decoder: Decoder, batches: Iterable<Batch>): EvaluateResult {
  let lossSum = 0, correct = 0, supervised = 0
  for (const batch of batches) {
    const targets = batch.targets
    if (targets === undefined || targets.count === 0) continue
    noGrad(() => scope(() => {
      const context = decoder.context(batch, { mode: 'infer' })
      const head = decoder.headLoss(decoder.hidden(batch, context), targets, { scale: 0, gradient: false, context })
      lossSum += head.lossSum.item()
      correct += head.correct.item()
      supervised += targets.count
    }))
  }
  const loss = lossSum / supervised
  return { loss, perplexity: Math.exp(loss), accuracy: correct / supervised, supervised }
}

function* batches(rows: RowReader, size: number, device: string): Generator<Batch> {
  for (let start = 0; start < rows.rows; start += size) {
    yield packBatch(Array.from({ length: Math.min(size, rows.rows - start) }, (_, i) => rows.row(start + i)), device)
  }
}
