import { createHash } from 'node:crypto'
import { createReadStream, openAsBlob, readFileSync } from 'node:fs'
import { HubError } from '../../errors'
import { aiStudio, repositoryApi } from '../../models/hub/aistudio'
import { lfsPointer } from '../../models/hub/content-hash'
import type { UploadFile } from './files'
import type { UploadJob } from './types'

/** Most bytes of a file that Git itself holds; larger ones must be of a kind that the repository keeps in LFS. */
const mostCommon = 5 * 2 ** 20
/** Most bytes that one request to the storage takes. */
const mostLarge = 5 * 2 ** 30
/** Most content and most files of one commit. */
const mostOfCommit = { bytes: 200 * 2 ** 20, files: 500 }
const author = { name: 'Fettle', email: 'fettle@localhost' }

/** A file of a commit, as the server takes it. */
interface Change { readonly path: string; readonly content: string; readonly lfsPointer: boolean; readonly operation: 'create' | 'update'; readonly sha?: string }

/**
 * Creates a repository where there is none and adds the files, large ones through Git LFS, as AI Studio's own library
 * does (aistudio-sdk 0.3, `create_repo` and `upload_folder`). A file whose content the server has is not sent again.
 */
export async function toAiStudio(job: UploadJob): Promise<void> {
  const { hub, files, plan, onStage } = job
  onStage('create')
  await createRepository(job)
  const large = await largeFiles(job), changes: Change[] = []
  for (const file of files) {
    if (!large.has(file.path) && file.size > mostCommon) {
      throw new HubError('upload.tooLarge', `${plan.repository}: ${file.path} has ${file.size} bytes, and AI Studio keeps files of its kind up to ${mostCommon} only; list its kind in the repository's .gitattributes for LFS, or leave the file out`, { repository: plan.repository, file: file.path, bytes: file.size })
    }
  }
  for (const file of files) {
    const lfs = large.has(file.path), content = Buffer.from(lfs ? lfsPointer(await sendLarge(job, file), file.size) : readFileSync(file.local)).toString('base64')
    const sha = await shaInRepository(job, file.path)
    changes.push({ path: file.path, content, lfsPointer: lfs, ...(sha === undefined ? { operation: 'create' } : { operation: 'update', sha }) })
  }
  onStage('commit')
  for (const part of commits(changes)) await post(job, `${repositoryApi(hub, plan.repository)}/contents`, { branch: aiStudio.revision, message: job.message, author, committer: author, files: part })
}

/** What the model centre answers: an error is told in the body of a request that went well. */
interface Created { readonly errorCode?: number; readonly errorMsg?: string; readonly logId?: string }

async function createRepository(job: UploadJob): Promise<void> {
  const { hub, plan } = job, [, name] = plan.repository.split('/')
  const { errorCode, errorMsg = '', logId } = await (await post(job, `${hub.api}/modelcenter/v2/models/sdk/add`, {
    repoType: plan.private ? 0 : 1, repoName: name, modelName: plan.repository, desc: '', license: plan.license,
  })).json() as Created
  if (!errorCode || errorMsg.includes('repo already created')) return
  const said = errorMsg.replaceAll(hub.token, '(hidden)')
  throw new HubError('upload.create', `${plan.repository}: AI Studio did not make the repository: ${said} (${errorCode}); check that ${hub.variables.token} belongs to ${plan.repository.split('/')[0]} and that the licence is one that AI Studio offers`, { repository: plan.repository, errorCode, said, logId })
}

/** The files that this repository keeps in LFS. */
async function largeFiles(job: UploadJob): Promise<Set<string>> {
  const { hub, plan, files } = job
  const response = await post(job, `${repositoryApi(hub, plan.repository)}/preupload/${aiStudio.revision}`, { files: files.map(({ path }) => ({ path })) })
  const told = (await response.json() as { files: { path: string; lfs: boolean }[] }).files
  return new Set(told.filter(({ lfs }) => lfs).map(({ path }) => path))
}

/** A request that LFS hands out (git-lfs, docs/api/batch.md). */
interface Action { readonly href: string; readonly header?: Record<string, string> }

/** Sends a file to the storage, unless it is there. @returns its SHA-256 */
async function sendLarge(job: UploadJob, { path, local, size }: UploadFile): Promise<string> {
  const { hub, plan, fetch, signal, onStage } = job, lfs = 'application/vnd.git-lfs+json'
  onStage('hash', path)
  const oid = await sha256(local)
  const batch = await post(job, `${hub.url}/${plan.repository}.git/info/lfs/objects/batch`, {
    operation: 'upload', objects: [{ oid, size }], transfers: ['basic'], ref: { name: `refs/heads/${aiStudio.revision}` }, hash_algo: 'sha256',
  }, { accept: lfs, 'content-type': lfs })
  const [object] = (await batch.json() as { objects: { actions?: { upload?: Action; verify?: Action }; error?: { code: number; message: string } }[] }).objects
  if (object.error) throw new HubError('upload.hub', `${plan.repository}: AI Studio does not take ${path}: ${object.error.message} (${object.error.code}); check the room that your account has`, { repository: plan.repository, file: path, status: object.error.code })
  const { upload, verify } = object.actions ?? {}
  if (upload === undefined) return oid
  if (size > mostLarge) throw new HubError('upload.tooLarge', `${plan.repository}: ${path} has ${size} bytes, and AI Studio's storage takes ${mostLarge} in one request; write the model in smaller files: fettle convert MODEL --out DIR --max-shard-size 2GB`, { repository: plan.repository, file: path, bytes: size })
  onStage('upload', path)
  const headers = new Headers(upload.header)
  headers.set('content-type', 'application/octet-stream')
  await fetch(upload.href, { method: 'PUT', body: await openAsBlob(local), headers, signal })
  if (verify !== undefined) await post(job, verify.href, { oid, size }, { ...verify.header, accept: lfs, 'content-type': lfs })
  return oid
}

/** The name that Git gives a file that is there. */
async function shaInRepository({ hub, plan, fetch, signal }: UploadJob, path: string): Promise<string | undefined> {
  try {
    return (await (await fetch(`${repositoryApi(hub, plan.repository)}/contents/${encodeURIComponent(path)}?ref=${aiStudio.revision}`, { signal })).json() as { sha?: string }).sha
  } catch (error) {
    if (error instanceof HubError && error.details.status === 404) return undefined
    throw error
  }
}

function post({ fetch, signal }: UploadJob, url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers }, signal })
}

/** Changes in groups that one request may carry. */
function commits(changes: readonly Change[]): Change[][] {
  const groups: Change[][] = [[]]
  let bytes = 0
  for (const change of changes) {
    const last = groups.at(-1)!
    const full = last.length >= mostOfCommit.files || (last.length > 0 && bytes + change.content.length > mostOfCommit.bytes)
    if (full) groups.push([change])
    else last.push(change)
    bytes = change.content.length + (full ? 0 : bytes)
  }
  return groups
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file, { highWaterMark: 4 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
