import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** A file of an archive: how it is packed (0: as it is, 8: deflated), its first byte in the archive, and its bytes there and unpacked. */
export interface ZipEntry { readonly method: number; readonly begin: number; readonly packed: number; readonly size: number }

/** The error for an archive that is broken, with what was seen. */
export type Refuse = (seen: string, details?: Record<string, unknown>) => Error

/**
 * Files of a zip archive by name, as its table has them: PKWARE's APPNOTE.TXT, 4.3.12 to 4.3.16 and, for archives beyond 4 GB, 4.5.3.
 * @throws what `refuse` makes
 */
export function zipEntries(path: string, refuse: Refuse): ReadonlyMap<string, ZipEntry> {
  const fd = openSync(path, 'r')
  try {
    return read(fstatSync(fd).size, (position, length) => {
      const buffer = Buffer.alloc(length)
      if (position < 0 || readSync(fd, buffer, 0, length, position) !== length) throw refuse(`is cut off at byte ${position}`)
      return buffer
    }, refuse)
  } finally {
    closeSync(fd)
  }
}

type Read = (position: number, length: number) => Buffer

const long = (buffer: Buffer, at: number): number => Number(buffer.readBigUInt64LE(at))
const notHere = 0xffffffff

function read(size: number, bytes: Read, refuse: Refuse): Map<string, ZipEntry> {
  const { begin, length, count } = directoryOf(size, bytes, refuse)
  if (begin + length > size) throw refuse('is cut off: its table of files lies beyond its end')
  const directory = bytes(begin, length)
  const files = new Map<string, ZipEntry>()
  let at = 0
  for (let i = 0; i < count; i++) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== 0x02014b50) throw refuse(`has ${i} of ${count} files in its table`)
    const [nameLength, extraLength, commentLength] = [directory.readUInt16LE(at + 28), directory.readUInt16LE(at + 30), directory.readUInt16LE(at + 32)]
    const next = at + 46 + nameLength + extraLength + commentLength
    if (next > directory.length) throw refuse('has a table of files that ends too early')
    const name = directory.toString('utf8', at + 46, at + 46 + nameLength)
    files.set(name, entryOf(size, name, directory.subarray(at, next), bytes, refuse))
    at = next
  }
  return files
}

function entryOf(archiveSize: number, name: string, entry: Buffer, bytes: Read, refuse: Refuse): ZipEntry {
  const nameLength = entry.readUInt16LE(28), extra = entry.subarray(46 + nameLength, 46 + nameLength + entry.readUInt16LE(30))
  const wide = wideFields(extra)
  const pick = (at: number): number => (entry.readUInt32LE(at) === notHere ? wide.shift() ?? -1 : entry.readUInt32LE(at))
  const size = pick(24), packed = pick(20), header = pick(42)
  const local = bytes(header, 30)
  if (local.readUInt32LE(0) !== 0x04034b50) throw refuse(`has no file where its table says that ${name} is`, { name })
  const begin = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28)
  if (begin + packed > archiveSize) throw refuse(`is cut off: ${name} ends at byte ${begin + packed}, the file has ${archiveSize}`, { name })
  return { method: entry.readUInt16LE(10), begin, packed, size }
}

/** 64-bit sizes and place, in the order of the fields that are all ones. */
function wideFields(extra: Buffer): number[] {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue
    const end = Math.min(extra.length, at + 4 + extra.readUInt16LE(at + 2))
    return Array.from({ length: Math.floor((end - at - 4) / 8) }, (_, i) => long(extra, at + 4 + 8 * i))
  }
  return []
}

function directoryOf(size: number, bytes: Read, refuse: Refuse): { begin: number; length: number; count: number } {
  const tailLength = Math.min(size, 65_557), tail = bytes(size - tailLength, tailLength)
  const end = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'))
  if (end < 0 || end + 22 > tail.length) throw refuse('is not a complete zip archive')
  const small = { begin: tail.readUInt32LE(end + 16), length: tail.readUInt32LE(end + 12), count: tail.readUInt16LE(end + 10) }
  const locator = end - 20
  if (locator < 0 || tail.readUInt32LE(locator) !== 0x07064b50) return small
  const wide = bytes(long(tail, locator + 8), 56)
  if (wide.readUInt32LE(0) !== 0x06064b50) throw refuse('has no table of files where its end says that it is')
  return { begin: long(wide, 48), length: long(wide, 40), count: long(wide, 32) }
}
