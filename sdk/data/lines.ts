import * as fs from 'node:fs'
import { constants } from 'node:buffer'
import { DataError } from '../errors'

/** A line of a file as bytes, without its line end. */
export interface Line {
  /** From 1, as editors count. */
  readonly number: number
  readonly bytes: Buffer
  /** Where the line starts in the file. */
  readonly offset: number
}

const NEWLINE = 0x0a, RETURN = 0x0d

/**
 * Reads a text file line by line in pieces, so that memory holds no more than a piece and the longest line. Lines end at
 * LF or CRLF only (U+2028 belongs to the text); the last may lack its end; a UTF-8 byte order mark is dropped.
 * @throws DataError `data.format` for compressed and UTF-16 files, `data.encoding` for a line longer than a string can be
 */
export function* readLines(file: string, chunkBytes = 1 << 20): Generator<Line> {
  const fd = openLines(file)
  try {
    let offset = checkStart(file, fd)
    let number = 0
    let parts: Buffer[] = []
    const chunk = Buffer.allocUnsafe(chunkBytes)
    for (let position = offset; ;) {
      const got = fs.readSync(fd, chunk, 0, chunkBytes, position)
      if (got === 0) break
      position += got
      let from = 0
      for (let end = chunk.subarray(0, got).indexOf(NEWLINE); end >= 0; end = chunk.subarray(0, got).indexOf(NEWLINE, from)) {
        // Copied, because the next read overwrites the chunk.
        parts.push(Buffer.from(chunk.subarray(from, end)))
        from = end + 1
        const bytes = parts.length === 1 ? parts[0] : Buffer.concat(parts)
        parts = []
        yield { number: ++number, bytes: withoutReturn(bytes), offset }
        offset += bytes.length + 1
      }
      parts.push(Buffer.from(chunk.subarray(from, got)))
      checkLength(file, number + 1, position - offset)
    }
    const rest = Buffer.concat(parts)
    if (rest.length > 0) yield { number: number + 1, bytes: withoutReturn(rest), offset }
  } finally {
    fs.closeSync(fd)
  }
}

/** Opens a text file for reading. @throws DataError `data.not-found` */
export function openLines(file: string): number {
  try {
    return fs.openSync(file, 'r')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new DataError('data.not-found', `${file}: cannot be opened (${code}); check that the file exists and may be read`, { file }, { cause })
  }
}

/** The lines of a block that holds whole lines. @param offset where the block starts in its file */
export function* linesOf(bytes: Buffer, number: number, offset: number): Generator<Line> {
  for (let from = 0; from < bytes.length; number++) {
    const found = bytes.indexOf(NEWLINE, from), end = found < 0 ? bytes.length : found
    yield { number, bytes: withoutReturn(bytes.subarray(from, end)), offset: offset + from }
    from = end + 1
  }
}

function withoutReturn(bytes: Buffer): Buffer {
  return bytes.length > 0 && bytes[bytes.length - 1] === RETURN ? bytes.subarray(0, -1) : bytes
}

/** Refuses what is not UTF-8 text at all; returns where the text starts. */
export function checkStart(file: string, fd: number): number {
  const start = Buffer.alloc(4)
  const got = fs.readSync(fd, start, 0, 4, 0)
  const begins = (...bytes: number[]): boolean => got >= bytes.length && bytes.every((b, i) => start[i] === b)
  if (begins(0xef, 0xbb, 0xbf)) return 3
  if (begins(0x1f, 0x8b)) throw new DataError('data.format', `${file}: is compressed with gzip; unpack it first: gunzip -k ${quote(file)}`, { file })
  if (begins(0x50, 0x4b, 0x03, 0x04)) throw new DataError('data.format', `${file}: is a zip archive; unpack it first: unzip ${quote(file)}`, { file })
  if (begins(0xff, 0xfe) || begins(0xfe, 0xff)) {
    throw new DataError('data.format', `${file}: is UTF-16, expected UTF-8; convert it: iconv -f UTF-16 -t UTF-8 ${quote(file)} > utf8.json`, { file })
  }
  return 0
}

function quote(file: string): string {
  return /^[\w./-]+$/.test(file) ? file : `'${file.replace(/'/g, "'\\''")}'`
}

/** @throws DataError `data.format` for a line longer than a string can be */
export function checkLength(file: string, line: number, bytes: number): void {
  if (bytes <= constants.MAX_STRING_LENGTH) return
  throw new DataError('data.format', `${file}:${line}: the line is longer than ${constants.MAX_STRING_LENGTH} bytes; expected one JSON object a line, so check the line ends`, { file, line })
}
