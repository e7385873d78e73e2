import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ModelError } from '../../errors'
import { writeJsonAtomically, writeTextAtomically } from '../weights/atomic'
import { cachedModel, completeMark, readMark, repositoryFolder, type Mark } from './cache'
import { downloadTo, type RemoteFile } from './download'
import { hubFetch, networkError, type Endpoint, type HubFetch } from './endpoint'
import { chooseFiles, indexAmong, shardsOf } from './files'
import { withLock } from './lock'
import { megabytes, type OnProgress } from './progress'

export interface SnapshotOptions {
  readonly revision?: string
  /** Only this .gguf file of the repository. */
  readonly file?: string
  readonly onProgress?: OnProgress
}

/**
 * Fetches what a model needs of a hub repository into Fettle's cache and returns the folder (or the .gguf file).
 * Files go to the snapshot of their commit, so that a copy never mixes two states of a repository; several processes
 * that ask for the same model wait for one download.
 */
export async function downloadModel(hub: Endpoint, repository: string, options: SnapshotOptions): Promise<string> {
  const { onProgress, revision = 'main', file } = options
  const folder = repositoryFolder(repository)
  const note = (stage: 'wait' | 'list', message: string) => onProgress?.({ stage, received: 0, message })
  const fetch = hubFetch(hub, repository, message => note('wait', message))
  return withLock(join(folder, '.lock'), async () => {
    const done = cachedModel(repository, revision, file)
    if (done) return done // Another process fetched it while this one waited.
    note('list', `Looking up ${repository} on ${hub.url}`)
    const { commit, files } = await listing(hub, repository, revision, fetch)
    const snapshot = join(folder, 'snapshots', commit)
    const kept = await fetchAll(hub, repository, snapshot, chooseFiles(repository, [...files.values()].map(f => f.path), file), files, fetch, onProgress)
    const whole = file ? readMark(snapshot)?.whole : kept.includes('config.json') ? '' : kept[0]
    const mark: Mark = { repository, commit, whole, files: [...new Set([...readMark(snapshot)?.files ?? [], ...kept])] }
    writeJsonAtomically(join(snapshot, completeMark), mark)
    writeTextAtomically(join(folder, 'refs', revision), commit)
    return join(snapshot, file ?? whole ?? '')
  }, () => note('wait', `Another process is fetching ${repository}`))
}

async function listing(hub: Endpoint, repository: string, revision: string, fetch: HubFetch): Promise<{ commit: string; files: Map<string, RemoteFile> }> {
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
    throw networkError(hub, repository, hub.url, error)
  }
}

/** A repository is a stranger's: a path that leaves the folder is not taken. */
function isSafe(path: string): boolean {
  return !/^[/\\]|^[a-zA-Z]:|\\/.test(path) && !path.split('/').includes('..')
}

async function fetchAll(
  hub: Endpoint, repository: string, snapshot: string, chosen: readonly string[], files: ReadonlyMap<string, RemoteFile>, fetch: HubFetch, onProgress?: OnProgress,
): Promise<string[]> {
  const received = new Map<string, number>()
  let wanted = [...chosen]
  const totals = () => ({
    received: [...received.values()].reduce((a, b) => a + b, 0), total: wanted.reduce((sum, path) => sum + files.get(path)!.size, 0),
  })
  const say = (stage: 'download' | 'wait', file: string, message?: string) => {
    const { received: got, total } = totals()
    onProgress?.({ stage, file, received: got, total, message: message ?? `${repository}: ${megabytes(got)} of ${megabytes(total)} (${file})` })
  }
  const one = async (path: string) => {
    const file = files.get(path)!
    const target = join(snapshot, path)
    const have = existsSync(target) && statSync(target).size === file.size
    if (!have) {
      await downloadTo(target, file, {
        hub, repository, fetch, onBytes: bytes => { received.set(path, bytes); say('download', path) }, onWait: message => say('wait', path, message),
      })
    }
    received.set(path, file.size)
    say('download', path)
  }
  const index = indexAmong(wanted)
  if (index !== undefined) {
    // The index names the shards, so it comes first.
    await one(index)
    const shards = shardsOf(repository, join(snapshot, index), new Set(files.keys()))
    wanted = [...wanted, ...shards]
  }
  for (const path of wanted) if (!received.has(path)) await one(path)
  return wanted
}
