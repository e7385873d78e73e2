import { ModelError } from '../../errors'
import type { RemoteFile } from './download'
import { aiStudioEndpoint, type Endpoint } from './endpoint'
import type { HubFetch } from './fetch'
import { isModelFile } from './files'
import { isSafe, type Listing, type ModelHub } from './model-hub'
import { aiStudioPrefix } from './names'

/** Baidu AI Studio: a Gitea server, spoken to as its own library (aistudio-sdk 0.3) does. */
export const aiStudio: ModelHub = { prefix: aiStudioPrefix, revision: 'master', endpoint: aiStudioEndpoint, list }

/** A page of `git/trees`. */
interface Tree {
  readonly sha: string
  readonly tree?: readonly { readonly path: string; readonly type: string; readonly sha: string }[]
  readonly truncated?: boolean
}

/** What `contents` tells of a file: its size as a file, though the tree may hold a pointer to it. */
interface Contents { readonly size: number; readonly Sha256?: string }

/** Address of a repository in the server's API. */
export function repositoryApi(hub: Endpoint, repository: string): string {
  return `${hub.url}/api/v1/repos/${repository.split('/').map(encodeURIComponent).join('/')}`
}

async function list(hub: Endpoint, repository: string, revision: string, fetch: HubFetch): Promise<Listing> {
  const api = repositoryApi(hub, repository), files = new Map<string, RemoteFile>()
  const ref = revision === aiStudio.revision ? '' : `?ref=${encodeURIComponent(revision)}`
  const { sha, tree } = await wholeTree(api, repository, await commitOf(api, revision, fetch), fetch)
  for (const entry of tree) {
    if (entry.type !== 'blob' || !isSafe(entry.path) || !isModelFile(entry.path)) continue
    const path = encodeURIComponent(entry.path)
    const { size, Sha256 } = await (await fetch(`${api}/contents/${path}${ref}`)).json() as Contents
    const hash = Sha256 ? { kind: 'sha256' as const, hex: Sha256 } : { kind: 'git' as const, hex: entry.sha }
    files.set(entry.path, { path: entry.path, size, hash, url: `${api}/media/${path}${ref}` })
  }
  return { commit: sha, files }
}

/** The commit of a tag; a branch or commit stands for itself. */
async function commitOf(api: string, revision: string, fetch: HubFetch): Promise<string> {
  if (revision === aiStudio.revision) return revision
  try {
    return (await (await fetch(`${api}/tags/${encodeURIComponent(revision)}`)).json() as { commit: { sha: string } }).commit.sha
  } catch (error) {
    if (error instanceof ModelError && error.code === 'model.notFound') return revision
    throw error
  }
}

async function wholeTree(api: string, repository: string, revision: string, fetch: HubFetch): Promise<{ sha: string; tree: NonNullable<Tree['tree']> }> {
  const tree: NonNullable<Tree['tree']>[number][] = []
  for (let page = 1; ; page++) {
    const part = await (await fetch(`${api}/git/trees/${encodeURIComponent(revision)}?recursive=true&page=${page}&per_page=1000`)).json() as Tree
    // A server that calls each page cut off would be asked for ever.
    if (!/^[0-9a-f]{4,64}$/.test(part.sha)) throw new ModelError('model.hub', `${repository}: the hub's list of files names no state of the repository; check STUDIO_GIT_HOST`, { repository, sha: part.sha })
    tree.push(...part.tree ?? [])
    if (!part.truncated || (part.tree ?? []).length === 0) return { sha: part.sha, tree }
  }
}
