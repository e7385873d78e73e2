import type { SerializedError } from '../errors'
import type { DataPlan } from '../plan/plan'
import type { PreparedData } from './dataset'
import type { SplitName } from './discover'
import type { SplitProgress } from './prepare-split'

/** The one message to the prepare process. */
export interface PrepareJob {
  readonly data: DataPlan
  readonly modelPath: string
  readonly splits: readonly { readonly split: SplitName; readonly files: readonly string[] }[]
  readonly cache: string
  readonly threads?: number | undefined
  readonly cores?: number | undefined
}

export interface PrepareProgress extends SplitProgress { readonly split: SplitName }

/** Messages of the prepare process; `done` or `failed` is the last. */
export type FromPrepare =
  | { readonly kind: 'progress'; readonly progress: PrepareProgress }
  | { readonly kind: 'done'; readonly result: PreparedData }
  | { readonly kind: 'failed'; readonly error: SerializedError }
