import { createReadStream, existsSync, statSync } from 'node:fs'
import { mkdir, open, rename, rm, statfs, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ModelError } from '../../errors'
import { ContentHash, type ExpectedHash } from './content-hash'
import type { Endpoint } from './endpoint'
import { attempts, backoff, pause, type HubFetch } from './fetch'
import { megabytes } from './progress'
import { downloadRefusals } from './refusals'

/** One file to fetch, and how its content is known to be right. */
export interface RemoteFile {
  readonly path: string
  readonly url: string
  readonly size: number
  /** Left undefined where the server tells none: then the size alone is checked. */
  readonly hash: ExpectedHash | undefined
}

export interface DownloadContext {
  readonly hub: Endpoint
  readonly repository: string
  readonly fetch: HubFetch
  /** Bytes of this file that are on disk. */
  readonly onBytes: (received: number) => void
  readonly onWait?: (message: string) => void
}

/**
 * Fetches a file into `target`. Bytes gather in `target.part`, which a later call continues with a Range request; the
 * file gets its name once size and hash are right. A wrong hash of a continued file is tried once more from the start.
 *
 * `downloadFile` of @huggingface/hub gives a stream but no word on whether the server honoured the range, so the
 * request is made here.
 * @throws ModelError `model.hash`, `model.network`, `model.disk`
 */
export async function downloadTo(target: string, file: RemoteFile, context: DownloadContext): Promise<void> {
  const part = `${target}.part`
  await mkdir(dirname(target), { recursive: true })
  const continued = existsSync(part)
  await checkSpace(target, file, continued ? statSync(part).size : 0)
  const seen = await fill(part, file, context)
  if (seen === file.hash?.hex || (!file.hash && /^[0-9a-f]+$/.test(seen))) return rename(part, target)
  await rm(part, { force: true })
  if (continued) return downloadTo(target, file, context)
  throw new ModelError('model.hash',
    `${context.repository}/${file.path}: has hash ${seen}, expected ${file.hash?.hex ?? `${file.size} bytes`}; a proxy or mirror altered the file: try again, or set ${context.hub.variables.url} to another one`,
    { repository: context.repository, file: file.path, seen, expected: file.hash?.hex, bytes: file.size })
}

/** Brings the part file to its full size and returns the hash of its content. */
async function fill(part: string, file: RemoteFile, context: DownloadContext): Promise<string> {
  const handle = await open(part, 'a+')
  try {
    let state = await existing(handle, part, file)
    for (let failures = 0; state.size < file.size;) {
      const before = state.size
      try {
        state = await receive(handle, file, state, context)
        if (state.size < file.size) throw new ModelError('model.network', `${context.repository}/${file.path}: the connection ended after ${state.size} of ${file.size} bytes`)
      } catch (error) {
        if (isFinal(error)) throw diskError(error, part, file) ?? error
        // What arrived before the break is hashed again: the hash object may have seen less than the disk.
        state = await existing(handle, part, file)
        failures = state.size > before ? 1 : failures + 1
        if (failures >= attempts) throw downloadRefusals.network(context.hub, context.repository, file.url, error)
        await pause(backoff(failures), `${file.path} stopped after ${megabytes(state.size)}`, context.onWait)
      }
    }
    await handle.sync()
    return state.size === file.size ? state.hash.name() : `of more than ${file.size} bytes`
  } finally {
    await handle.close()
  }
}

interface Received { readonly hash: ContentHash; readonly size: number }

function newHash({ size, hash }: RemoteFile): ContentHash { return new ContentHash(size, hash) }

/** Hash and size of what is on disk already; a part that is longer than the file is thrown away. */
async function existing(handle: FileHandle, part: string, file: RemoteFile): Promise<Received> {
  const hash = newHash(file)
  const { size } = await handle.stat()
  if (size > file.size) {
    await handle.truncate(0)
    return { hash, size: 0 }
  }
  if (size > 0) for await (const chunk of createReadStream(part, { highWaterMark: 4 << 20 })) hash.update(chunk as Buffer)
  return { hash, size }
}

async function receive(handle: FileHandle, file: RemoteFile, from: Received, context: DownloadContext): Promise<Received> {
  let { hash, size } = from
  const response = await context.fetch(file.url, size > 0 ? { headers: { range: `bytes=${size}-` } } : {})
  if (size > 0 && response.status !== 206) {
    // The server sends the whole file whatever was asked.
    await handle.truncate(0)
    size = 0
    hash = newHash(file)
  }
  if (!response.body) throw new ModelError('model.network', `${context.repository}/${file.path}: the answer has no content`)
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    await handle.appendFile(chunk)
    hash.update(chunk)
    size += chunk.length
    context.onBytes(size)
    if (size > file.size) break // Longer than announced: the caller refuses it.
  }
  return { hash, size }
}

function isFinal(error: unknown): boolean {
  if (error instanceof ModelError) return error.code !== 'model.network' || 'url' in error.details
  return isDisk(error)
}

function isDisk(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EACCES', 'EROFS', 'EIO', 'EFBIG'].includes((error as NodeJS.ErrnoException).code ?? '')
}

function diskError(error: unknown, path: string, file: RemoteFile): ModelError | undefined {
  if (!isDisk(error)) return undefined
  const code = (error as NodeJS.ErrnoException).code
  return new ModelError('model.disk', `${path}: cannot be written (${code}); ${file.path} needs ${megabytes(file.size)}: free some space, or set FETTLE_HOME to a folder with room`,
    { path, errno: code, bytes: file.size }, { cause: error })
}

async function checkSpace(target: string, file: RemoteFile, have: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(target))
  const free = bavail * bsize
  const needed = file.size - have
  if (needed <= free) return
  throw new ModelError('model.disk', `${dirname(target)}: has ${megabytes(free)} free, ${file.path} needs ${megabytes(needed)}; free some space, or set FETTLE_HOME to a folder with room`,
    { path: target, free, needed })
}
