/** Contract of a prepared data set: an Arrow IPC file that every rank reads by row number. */

/** One rendered and tokenised row, so that a doubled BOS or a missing EOS shows before training. */
export interface Preview {
  readonly text: string
  readonly ids: readonly number[]
  /** −100: not supervised; not shifted. */
  readonly labels: readonly number[]
  readonly tokens: readonly string[]
}

/** Something in the source that is not wrong but worth knowing: ignored fields, blank lines, answers that were cut away. */
export interface DataNote {
  readonly code: 'data.ignored-fields' | 'data.blank-lines' | 'data.truncated' | 'data.no-answer-left' | 'data.no-end-of-turn' | 'data.no-system'
  readonly message: string
}

/**
 * Columns: input_ids list<int32>, labels list<int32> (−100: not supervised; NOT shifted), record int32 (row in the
 * source, from 0), supervised int32 (labels that a token before them predicts).
 */
export interface PreparedSplit {
  readonly file: string
  readonly rows: number
  readonly tokens: number
  readonly supervised: number
  /** Rows that lost a part of their source, target or earlier rounds. */
  readonly truncated: number
  /** Tokens of the longest row. */
  readonly longest: number
  /** SHA-256 of source bytes, tokenizer and data settings: the cache key and the resume check. */
  readonly hash: string
  /** Files that the rows came from. */
  readonly sources: readonly string[]
  readonly template: 'chat' | 'plain'
  readonly preview: Preview
  readonly notes: readonly DataNote[]
}

export interface PreparedData {
  readonly train: PreparedSplit | null
  readonly dev: PreparedSplit | null
  /** Rows to predict on; prepared only when they are asked for. */
  readonly test: PreparedSplit | null
}

/** One row as it goes into a batch. */
export interface Row { readonly inputIds: Int32Array; readonly labels: Int32Array }

export interface RowReader {
  readonly split: PreparedSplit
  readonly rows: number
  row(index: number): Row
  /** Length in tokens, without touching the ids. */
  length(index: number): number
  /** Labels that a token before them predicts. */
  supervised(index: number): number
}

/** Label of a position that is not trained. */
export const IGNORED = -100
