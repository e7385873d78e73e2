import { pathToFileURL } from 'node:url'
import { HubError } from '../../errors'
import type { HubFetch } from '../../models/hub/fetch'
import { modelCard } from './card'
import type { UploadJob } from './types'

/**
 * Creates a repository where there is none and adds the files in one commit, large ones through Git LFS or Xet. A file
 * whose content the hub has is not sent again, so that an upload that broke off goes on where it was.
 */
export async function toHuggingFace({ hub, fetch: hubFetch, folder, files, plan, message, signal, onStage }: UploadJob): Promise<void> {
  const { commitIter, createRepo } = await import('@huggingface/hub')
  // The library knows no token: it takes only those of huggingface.co, and `fetch` adds it.
  const common = { hubUrl: hub.url, repo: plan.repository, fetch: adapted(hubFetch, hub.url, signal) }
  onStage('create')
  try {
    await createRepo({ ...common, visibility: plan.private ? 'private' : 'public' } as Parameters<typeof createRepo>[0])
  } catch (error) {
    if (!(error instanceof HubError) || error.details.status !== 409) throw error // 409: it is there
  }
  const card = files.some(({ path }) => path === 'README.md') ? [] : [{ path: 'README.md', content: new Blob([modelCard(folder, plan.repository, plan.license)]) }]
  const operations = [...files.map(({ path, local }) => ({ path, content: pathToFileURL(local) })), ...card].map((file) => ({ operation: 'addOrUpdate' as const, ...file }))
  for await (const event of commitIter({ ...common, operations, title: message, abortSignal: signal })) {
    if (event.event === 'fileProgress') onStage(event.state === 'hashing' ? 'hash' : 'upload', event.path)
    else if (event.phase === 'committing') onStage('commit')
  }
}

/** Without what the library writes into an Authorization header of the hub for want of a token; and ended by the signal. */
function adapted(fetch: HubFetch, hubUrl: string, signal?: AbortSignal): typeof globalThis.fetch {
  const own = async (target: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers)
    if (new URL(String(target)).origin === new URL(hubUrl).origin) headers.delete('authorization')
    return fetch(target, { signal, ...init, headers })
  }
  return own as typeof globalThis.fetch // typed by the library with Node's own overloads
}
