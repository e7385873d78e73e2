import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { broken } from './bytes'

/** Where a file of an archive lies, uncompressed, in bytes from the archive's start. */
export interface Stored { readonly begin: number; readonly bytes: number }

/**
 * Files of a zip archive that are stored as they are, as torch.save writes them: PKWARE's APPNOTE.TXT, 4.3.12 to 4.3.16
 * and, for archives beyond 4 GB, 4.5.3.
 * @throws ModelError `model.pickle`
 */
export function storedFiles(path: string): ReadonlyMap<string, Stored> {
  const fd = openSync(path, 'r')
  try {
    return read(path, fstatSync(fd).size, (position, length) => {
      const buffer = Buffer.alloc(length)
      if (position < 0 || readSync(fd, buffer, 0, length, position) !== length) throw broken(path, `is cut off at byte ${position}`)
      return buffer
    })
  } finally {
    closeSync(fd)
  }
}

type Read = (position: number, length: number) => Buffer

const long = (buffer: Buffer, at: number): number => Number(buffer.readBigUInt64LE(at))
const notHere = 0xffffffff

function read(path: string, size: number, bytes: Read): Map<string, Stored> {
  const { begin, length, count } = directoryOf(path, size, bytes)
  if (begin + length > size) throw broken(path, 'is cut off: its table of files lies beyond its end')
  const directory = bytes(begin, length)
  const files = new Map<string, Stored>()
  let at = 0
  for (let i = 0; i < count; i++) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== 0x02014b50) throw broken(path, `has ${i} of ${count} files in its table`)
    const [nameLength, extraLength, commentLength] = [directory.readUInt16LE(at + 28), directory.readUInt16LE(at + 30), directory.readUInt16LE(at + 32)]
    const next = at + 46 + nameLength + extraLength + commentLength
    if (next > directory.length) throw broken(path, 'has a table of files that ends too early')
    const name = directory.toString('utf8', at + 46, at + 46 + nameLength)
    files.set(name, placeOf(path, size, name, directory.subarray(at, next), bytes))
    at = next
  }
  return files
}

function placeOf(path: string, size: number, name: string, entry: Buffer, bytes: Read): Stored {
  if (entry.readUInt16LE(10) !== 0) throw broken(path, `holds ${name} compressed, as torch.save never does`, { name }, 'save the model anew')
  const nameLength = entry.readUInt16LE(28), extra = entry.subarray(46 + nameLength, 46 + nameLength + entry.readUInt16LE(30))
  const wide = wideFields(extra)
  const pick = (at: number): number => (entry.readUInt32LE(at) === notHere ? wide.shift() ?? -1 : entry.readUInt32LE(at))
  const length = pick(24), packed = pick(20), header = pick(42)
  const local = bytes(header, 30)
  if (local.readUInt32LE(0) !== 0x04034b50 || packed !== length) throw broken(path, `has no file where its table says that ${name} is`, { name })
  const begin = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28)
  if (begin + length > size) throw broken(path, `is cut off: ${name} ends at byte ${begin + length}, the file has ${size}`, { name })
  return { begin, bytes: length }
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

function directoryOf(path: string, size: number, bytes: Read): { begin: number; length: number; count: number } {
  const tailLength = Math.min(size, 65_557), tail = bytes(size - tailLength, tailLength)
  const end = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'))
  if (end < 0 || end + 22 > tail.length) throw broken(path, 'is not a complete zip archive')
  const small = { begin: tail.readUInt32LE(end + 16), length: tail.readUInt32LE(end + 12), count: tail.readUInt16LE(end + 10) }
  const locator = end - 20
  if (locator < 0 || tail.readUInt32LE(locator) !== 0x07064b50) return small
  const wide = bytes(long(tail, locator + 8), 56)
  if (wide.readUInt32LE(0) !== 0x06064b50) throw broken(path, 'has no table of files where its end says that it is')
  return { begin: long(wide, 48), length: long(wide, 40), count: long(wide, 32) }
}
