import type { SerializedError } from '../errors'
import type { DataPlan } from '../plan/plan'

/** What a stream reads, and from where on. */
export interface StreamJob {
  readonly data: DataPlan
  readonly modelPath: string
  readonly files: readonly string[]
  /** Decides the order, with the epoch. */
  readonly seed: number
  /** Rows that were taken before: they are read again, but not tokenised. */
  readonly skip: number
}

/** A tokenised row of a stream. */
export interface StreamedRow {
  readonly inputIds: Int32Array
  readonly labels: Int32Array
  /** Epoch that it belongs to, from 0. */
  readonly epoch: number
}

/** To the process that reads: the job first, then a request for each batch. */
export type ToStream = { readonly kind: 'start'; readonly job: StreamJob } | { readonly kind: 'more' }

/** From it. After `failed` nothing follows. */
export type FromStream = { readonly kind: 'rows'; readonly rows: readonly StreamedRow[] } | { readonly kind: 'failed'; readonly error: SerializedError }
