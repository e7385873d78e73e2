import { ModelError } from '../../errors'
import type { RemoteFile } from './download'
import { endpoint, type Endpoint } from './endpoint'
import type { HubFetch } from './fetch'
import { isSafe, type Listing, type ModelHub } from './model-hub'
import { downloadRefusals } from './refusals'

export const huggingFace: ModelHub = { prefix: '', revision: 'main', endpoint, list }

async function list(hub: Endpoint, repository: string, revision: string, fetch: HubFetch): Promise<Listing> {
  const { listFiles, modelInfo } = await import('@huggingface/hub')
  try {
    // The library types its `fetch` with Node's own overloads; it calls it with an address and headers only.
    const common = { hubUrl: hub.url, fetch: fetch as typeof globalThis.fetch, revision }
    const { sha: commit } = await modelInfo({ ...common, name: repository, additionalFields: ['sha'] })
    const files = new Map<string, RemoteFile>()
    for await (const entry of listFiles({ ...common, revision: commit, repo: repository, recursive: true })) {
      if (entry.type !== 'file' || !isSafe(entry.path)) continue
      const hash = entry.lfs ? { kind: 'sha256' as const, hex: entry.lfs.oid } : entry.oid ? { kind: 'git' as const, hex: entry.oid } : undefined
      const path = entry.path.split('/').map(encodeURIComponent).join('/')
      files.set(entry.path, { path: entry.path, size: entry.lfs?.size ?? entry.size, hash, url: `${hub.url}/${repository}/resolve/${commit}/${path}` })
    }
    return { commit, files }
  } catch (error) {
    if (error instanceof ModelError) throw error
    throw downloadRefusals.network(hub, repository, hub.url, error)
  }
}
