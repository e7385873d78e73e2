import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DataError, ModelError } from '../../errors'
import type { ExpectedHash } from '../../models/hub/content-hash'
import { downloadTo, type RemoteFile } from '../../models/hub/download'
import { isOffline, type Endpoint } from '../../models/hub/endpoint'
import { hubFetch } from '../../models/hub/fetch'
import { withLock } from '../../models/hub/lock'
import { megabytes, type OnProgress } from '../../models/hub/progress'
import { addressOf, type BuiltinData } from './catalog'
import { builtinAt, homeOf, rowsFolder } from './place'
import { unpack } from './unpack'

/**
 * The folder or file of a data set: `path` itself, or for the name of a built-in set its folder in Fettle's cache, fetched
 * when it has to be. A folder of that name wins over the name.
 * @throws DataError `data.offline`, `data.network`, `data.notFound`, `data.hash`, `data.archive`, `data.line`, `data.disk`
 */
export async function resolveData(path: string, onProgress?: OnProgress): Promise<string> {
  const set = builtinAt(path)
  if (set === undefined) return path
  const folder = rowsFolder(set)
  if (existsSync(folder)) return folder
  const note = (message: string) => onProgress?.({ stage: 'wait', received: 0, message })
  return withLock(join(homeOf(set), '.lock'), async () => {
    if (!existsSync(folder)) await obtain(set, folder, onProgress)
    return folder
  }, () => note(`Another process is fetching ${set.name}`))
}

async function obtain(set: BuiltinData, folder: string, onProgress?: OnProgress): Promise<void> {
  const server = serverOf(set), archive = join(homeOf(set), set.archive), unpacked = `${folder}.unpack`
  if (server.offline) throw new DataError('data.offline', `${set.name}: is not on this machine, and HF_HUB_OFFLINE forbids to fetch it; unset HF_HUB_OFFLINE, or ${server.instead}`, { name: set.name })
  try {
    await download(set, server, archive, onProgress)
    onProgress?.({ stage: 'unpack', file: set.archive, received: 0, message: `Unpacking and checking ${set.archive}` })
    // Only the holder of the lock comes here: what is there was left by a process that was killed.
    rmSync(unpacked, { recursive: true, force: true })
    await unpack(archive, unpacked, set)
    renameSync(unpacked, folder)
  } catch (error) {
    rmSync(unpacked, { recursive: true, force: true })
    throw error instanceof ModelError ? new DataError(error.code.replace(/^model\./, 'data.'), error.message, { ...error.details }, { cause: error }) : error
  } finally {
    // A broken archive would be broken the next time too; one that was unpacked has done its work.
    rmSync(archive, { force: true })
  }
}

function serverOf(set: BuiltinData): Endpoint {
  return { url: addressOf(set), token: undefined, scheme: 'Bearer', offline: isOffline(), variables: { url: set.variable }, instead: 'give a folder with train.json and dev.json' }
}

async function download(set: BuiltinData, hub: Endpoint, archive: string, onProgress?: OnProgress): Promise<void> {
  const tell = (stage: 'list' | 'wait' | 'download', message: string, received = 0, total?: number) => onProgress?.({ stage, file: set.archive, received, total, message })
  const fetch = hubFetch(hub, set.name, message => tell('wait', message)), url = `${hub.url}/${set.archive}`
  mkdirSync(homeOf(set), { recursive: true })
  tell('list', `Looking up ${set.archive} on ${hub.url}`)
  const { headers } = await fetch(url, { method: 'HEAD' })
  const size = Number(headers.get('content-length'))
  if (!(size > 0)) throw new DataError('data.hub', `${set.name}: ${hub.url} does not tell the size of ${set.archive}; set ${set.variable} to another mirror`, { name: set.name, url })
  const file: RemoteFile = { path: set.archive, url, size, hash: hashOf(headers) }
  await downloadTo(archive, file, {
    hub, repository: set.name, fetch, onWait: message => tell('wait', message),
    onBytes: received => tell('download', `${set.name}: ${megabytes(received)} of ${megabytes(size)}`, received, size),
  })
}

/** Content-MD5 (RFC 1864), else an ETag that is one: of an object that was stored in one piece. */
function hashOf(headers: Headers): ExpectedHash | undefined {
  const told = headers.get('content-md5'), hex = told ? Buffer.from(told, 'base64').toString('hex') : headers.get('etag')?.replace(/^"|"$/g, '').toLowerCase()
  return hex !== undefined && /^[0-9a-f]{32}$/.test(hex) ? { kind: 'md5', hex } : undefined
}
