/** Contract of a prepared data set: an Arrow IPC file that every rank maps and reads by row number. */

/** Columns: input_ids list<int32>, labels list<int32> (−100: not supervised; NOT shifted), record int32 (row in the source). */
export interface PreparedSplit {
  readonly file: string
  readonly rows: number
  readonly tokens: number
  readonly supervised: number
  readonly truncated: number
  readonly longest: number
  /** SHA-256 of source bytes, tokenizer and data settings: the cache key and the resume check. */
  readonly hash: string
}

export interface PreparedData {
  readonly train: PreparedSplit | null
  readonly dev: PreparedSplit | null
}

/** One row as it goes into a batch. Views over the mapped file: do not write. */
export interface Row { readonly inputIds: Int32Array; readonly labels: Int32Array }

export interface RowReader {
  readonly split: PreparedSplit
  readonly rows: number
  row(index: number): Row
  /** Length in tokens, without touching the ids. */
  length(index: number): number
  supervised(index: number): number
}
