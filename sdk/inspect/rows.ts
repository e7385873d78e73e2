import { IGNORED, type Row } from '../data/dataset'
import type { Tokenizer } from '../tokenizers'
import { rowsView, type TextAndHtml } from '../views/objects'
import { Shown } from './shown'
import type { DataToken, ShownRow } from './types'

/** Some rows of a data set, as training sees them: tokens, special ones visible, what the loss counts marked. */
export class DataRows extends Shown implements Iterable<ShownRow> {
  /** @internal Use `rows()` of a `DataInfo`. */
  constructor(
    /** The rows that are shown. */
    readonly rows: readonly ShownRow[],
    /** Rows of the whole split. */
    readonly of: number,
  ) {
    super()
    Object.freeze(this)
  }

  [Symbol.iterator](): Iterator<ShownRow> { return this.rows[Symbol.iterator]() }

  protected override view(): TextAndHtml { return rowsView(this.rows, this.of) }
}

/** Tokens of one prepared row, each with the text that it adds. */
export function shownRow(tokenizer: Tokenizer, row: number, { inputIds, labels }: Row): ShownRow {
  const stream = tokenizer.streamDecoder()
  const tokens: { -readonly [K in keyof DataToken]: DataToken[K] }[] = []
  let supervised = 0
  inputIds.forEach((id, i) => {
    const special = tokenizer.specialIds.has(id)
    const piece = stream.push(id)
    // The first label has no token before it that could predict it.
    const counted = i > 0 && labels[i] !== IGNORED
    if (counted) supervised++
    tokens.push({ id, text: special ? tokenizer.tokenOf(id) : piece, supervised: counted, special })
  })
  const rest = stream.flush()
  const last = tokens.at(-1)
  if (last && !last.special) last.text += rest
  return { row, tokens, supervised }
}
