import type { UploadPlan } from '../../plan/plan'
import type { Endpoint } from '../../models/hub/endpoint'
import type { HubFetch } from '../../models/hub/fetch'
import type { UploadFile } from './files'

/** One upload under way. */
export interface UploadJob {
  readonly hub: Endpoint & { readonly token: string }
  readonly fetch: HubFetch
  readonly folder: string
  readonly files: readonly UploadFile[]
  readonly plan: UploadPlan
  /** First line of the commit's message. */
  readonly message: string
  readonly signal?: AbortSignal
  /** What is being done, with the file at hand. */
  readonly onStage: (stage: UploadProgress['stage'], file?: string) => void
}

/** What `upload()` tells while it works. */
export interface UploadProgress {
  /** Making the repository, summing files up, sending one, waiting for the server, writing the commit. */
  readonly stage: 'create' | 'hash' | 'upload' | 'wait' | 'commit'
  /** The file at hand. */
  readonly file?: string
  /** One line for a log. */
  readonly message: string
}
