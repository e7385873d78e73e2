import { resolve } from 'node:path'
import { FettleError, HubError } from '../../errors'
import { hubFetch } from '../../models/hub/fetch'
import { uploadRefusals } from '../../models/hub/refusals'
import type { UploadOptions } from '../../plan/options'
import { uploadPlan } from '../../plan/upload'
import type { UploadPlan } from '../../plan/plan'
import { toAiStudio } from './aistudio'
import { hubNames, uploadEndpoint } from './endpoint'
import { uploadFiles } from './files'
import { toHuggingFace } from './hugging-face'
import type { UploadJob, UploadProgress } from './types'

export type { UploadProgress } from './types'

/** What an upload made. */
export interface UploadResult {
  /** The repository's page. */
  readonly url: string
  /** Names of the files of the folder that are there now. */
  readonly files: readonly string[]
}

/** Who uploads, and how it is watched and ended; all optional. */
export interface UploadCall {
  /** Access token. Default: that of the environment. */
  readonly token?: string
  /** Called while it works. Default: nobody listens. */
  readonly onProgress?: (progress: UploadProgress) => void
  /** Ends the upload; the promise rejects. */
  readonly signal?: AbortSignal
}

const senders = { huggingface: toHuggingFace, aistudio: toAiStudio } as const satisfies Record<UploadPlan['to'], (job: UploadJob) => Promise<void>>

/**
 * Uploads a trained model or adapter: the weights of a folder with configuration, tokenizer and card. The repository is
 * made where there is none, private unless said otherwise. Without `token` the environment has it: HF_TOKEN,
 * HUGGING_FACE_HUB_TOKEN or the file of `hf auth login`; for AI Studio AISTUDIO_ACCESS_TOKEN. Content that the hub has is
 * not sent again, so that a second call goes on where the first broke off.
 *
 * ```ts
 * await upload('output/first', 'me/first')
 * await upload('output/first', 'me/first', { to: 'aistudio', private: false })
 * ```
 *
 * @throws HubError `upload.token`, `upload.folder`, `upload.unauthorized`, `upload.forbidden`, `upload.notFound`, `upload.network`, …; PlanError for a wrong option
 */
export function upload(folder: string, repository: string, options: UploadOptions & UploadCall = {}): Promise<UploadResult> {
  const { token, onProgress, signal, ...rest } = options
  return uploadAs(folder, uploadPlan('upload', repository, rest), { token, onProgress, signal })
}

/** The same as a plan says it. */
export async function uploadAs(folder: string, plan: UploadPlan, { token, onProgress, signal }: UploadCall = {}): Promise<UploadResult> {
  signal?.throwIfAborted()
  const hub = uploadEndpoint(plan, token), files = uploadFiles(resolve(folder)), { repository } = plan
  const tell = (stage: UploadProgress['stage'], message: string, file?: string) => onProgress?.({ stage, message, ...(file === undefined ? {} : { file }) })
  try {
    await unlessAborted(signal, senders[plan.to]({
      hub, files, plan, signal, folder: resolve(folder), message: 'Upload of a model fine-tuned with Fettle',
      fetch: hubFetch(hub, repository, (message) => tell('wait', message), uploadRefusals),
      onStage: (stage, file) => tell(stage, `${repository}: ${stages[stage]}${file === undefined ? '' : ` ${file}`}`, file),
    }))
  } catch (cause) {
    if (cause instanceof FettleError || signal?.aborted) throw cause
    throw new HubError('upload.hub', `${repository}: ${hubNames[plan.to]} answered in a way that is not understood (${(cause as Error).message.replaceAll(hub.token, '(hidden)')}); try again later`, { repository, endpoint: hub.url }, { cause })
  }
  return { url: `${hub.url}/${repository}`, files: files.map(({ path }) => path) }
}

/** Work that nobody waits for once the signal came, whatever it is at. */
function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  const aborted = new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true }))
  return Promise.race([work, aborted])
}

/** The command that repeats an upload. */
export function uploadCommand(folder: string, { to, repository, private: hidden, license }: UploadPlan): string {
  return ['npx fettle upload', JSON.stringify(folder), repository, `--to ${to}`, hidden ? '--private' : '--public', ...(license === null ? [] : [`--licence ${JSON.stringify(license)}`])].join(' ')
}

const stages: Readonly<Record<UploadProgress['stage'], string>> = { create: 'looking for the repository', hash: 'summing up', upload: 'uploading', wait: 'waiting', commit: 'writing the commit' }
