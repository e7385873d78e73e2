import { noGrad, scope } from 'fettle-native'
import type { RowReader } from '../data/dataset'
import { packBatch } from '../models/batch'
import type { Decoder } from '../models/decoder'

/** How well the weights do on rows that have answers. */
export interface EvaluateResult {
  /** Mean of −log p(label) over all supervised tokens. NaN when there is none. */
  readonly loss: number
  /** exp(loss) */
  readonly perplexity: number
  /** Share of supervised positions whose argmax is the label. */
  readonly accuracy: number
  readonly supervised: number
}

/** Most rows of a batch, and most tokens. */
export interface BatchLimit { readonly rows: number; readonly tokens?: number }

/**
 * Loss, perplexity and token accuracy over all rows of a split, weighted by token, without gradients or dropout.
 * @param limit rows of a batch; and its tokens, so that evaluation needs no more memory than training (a longer row runs alone)
 */
export function evaluateRows(decoder: Decoder, rows: RowReader, limit: BatchLimit): EvaluateResult {
  const walk = evaluateSteps(decoder, rows, limit)
  for (;;) {
    const next = walk.next()
    if (next.done) return next.value
  }
}

/** What `evaluateRows` does, batch by batch: a value after each, so that something else may come between, or end it. */
export function* evaluateSteps(decoder: Decoder, rows: RowReader, limit: BatchLimit): Generator<void, EvaluateResult, void> {
  let lossSum = 0, correct = 0, supervised = 0
  for (const numbers of batches(rows, limit.rows, limit.tokens ?? Infinity)) {
    noGrad(() => scope(() => {
      const batch = packBatch(numbers.map((row) => rows.row(row)), decoder.parameters.device, decoder.parameters.architecture.prompt), { targets } = batch
      if (targets === undefined || targets.count === 0) return
      const context = decoder.context(batch, { mode: 'infer' })
      const head = decoder.headLoss(decoder.hidden(batch, context), targets, { scale: 0, gradient: false, context })
      lossSum += head.lossSum.item()
      correct += head.correct.item()
      supervised += targets.count
    }))
    yield
  }
  const loss = lossSum / supervised
  return { loss, perplexity: Math.exp(loss), accuracy: correct / supervised, supervised }
}

function* batches(rows: RowReader, most: number, mostTokens: number): Generator<number[]> {
  let batch: number[] = [], tokens = 0
  for (let row = 0; row < rows.rows; row++) {
    const length = rows.length(row)
    if (batch.length === most || (batch.length > 0 && tokens + length > mostTokens)) {
      yield batch
      batch = []
      tokens = 0
    }
    batch.push(row)
    tokens += length
  }
  if (batch.length > 0) yield batch
}
