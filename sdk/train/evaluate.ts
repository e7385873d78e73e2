import { noGrad, scope } from 'fettle-native'
import type { Row, RowReader } from '../data/dataset'
import { packBatch } from '../models/batch'
import type { Decoder } from '../models/decoder'
import { sumOver } from '../parallel/gradients'
import { Ranks } from '../parallel/ranks'
import { ownUnits } from './cut'

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

/**
 * What `evaluateRows` does, batch by batch: a value after each, so that something else may come between, or end it. Of many
 * ranks those with rows of their own divide each batch of as many times the rows, and all do as many passes.
 */
export function* evaluateSteps(decoder: Decoder, rows: RowReader, limit: BatchLimit, ranks: Ranks = Ranks.alone()): Generator<void, EvaluateResult, void> {
  const { data, place } = ranks, alone = ranks.size === 1
  let own = [0, 0, 0]
  for (const numbers of batches(rows, limit.rows * data.count, limit.tokens ?? Infinity)) {
    // A rank without a row of its own goes along with one of the others'.
    const share = ownUnits(numbers, data), counts = share.length > 0 && place.tp === 0 && place.pp === 0
    const [lossSum, correct, count] = pass(decoder, (share.length > 0 ? share : numbers.slice(0, 1)).map((row) => rows.row(row)), alone)
    if (counts) own = [own[0] + lossSum, own[1] + correct, own[2] + count]
    yield
  }
  const [lossSum, correct, supervised] = sumOver(ranks, own)
  const loss = lossSum / supervised
  return { loss, perplexity: Math.exp(loss), accuracy: correct / supervised, supervised }
}

/** Sums of one batch. One without labels is left out, but where other ranks wait for its pass. */
function pass(decoder: Decoder, rows: readonly Row[], alone: boolean): [lossSum: number, correct: number, supervised: number] {
  return noGrad(() => scope(() => {
    const batch = packBatch(rows, decoder.parameters.device, decoder.parameters.architecture.prompt), { targets } = batch, count = targets?.count ?? 0
    if (count === 0 && alone) return [0, 0, 0]
    const context = decoder.context(batch, { mode: 'infer' }), hidden = decoder.hidden(batch, context)
    if (count === 0) return [0, 0, 0]
    const head = decoder.headLoss(hidden, targets!, { scale: 0, gradient: false, context })
    return [head.lossSum.item(), head.correct.item(), count]
  }))
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
