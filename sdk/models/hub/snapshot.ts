import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { writeJsonAtomically, writeTextAtomically } from '../weights/atomic'
import { cachedModel, completeMark, readMark, repositoryFolder, type Mark } from './cache'
import { downloadTo, type RemoteFile } from './download'
import type { Endpoint } from './endpoint'
import { hubFetch, type HubFetch } from './fetch'
import { chooseFiles, indexAmong, shardsOf } from './files'
import { withLock } from './lock'
import type { ModelHub } from './model-hub'
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
 * @param bare the repository's name, without the hub's prefix
 */
export async function downloadModel(from: ModelHub, bare: string, options: SnapshotOptions): Promise<string> {
  const { onProgress, revision = from.revision, file } = options, hub = from.endpoint()
  const repository = `${from.prefix}${bare}`, folder = repositoryFolder(repository)
  const note = (stage: 'wait' | 'list', message: string) => onProgress?.({ stage, received: 0, message })
  const fetch = hubFetch(hub, repository, message => note('wait', message))
  return withLock(join(folder, '.lock'), async () => {
    const done = cachedModel(repository, revision, file)
    if (done) return done // Another process fetched it while this one waited.
    note('list', `Looking up ${repository} on ${hub.url}`)
    const { commit, files } = await from.list(hub, bare, revision, fetch)
    const snapshot = join(folder, 'snapshots', commit)
    const kept = await fetchAll(hub, repository, snapshot, chooseFiles(repository, [...files.values()].map(f => f.path), file), files, fetch, onProgress)
    const whole = file ? readMark(snapshot)?.whole : kept.includes('config.json') ? '' : kept[0]
    const mark: Mark = { repository, commit, whole, files: [...new Set([...readMark(snapshot)?.files ?? [], ...kept])] }
    writeJsonAtomically(join(snapshot, completeMark), mark)
    writeTextAtomically(join(folder, 'refs', revision), commit)
    return join(snapshot, file ?? whole ?? '')
  }, () => note('wait', `Another process is fetching ${repository}`))
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
