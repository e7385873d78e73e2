import * as fs from 'node:fs'
import { checkLength, checkStart, openLines } from './lines'

/** Whole lines of a file, as many as are encoded at once. */
export interface Block {
  readonly file: string
  readonly bytes: Buffer
  /** Number of the first line, from 1. */
  readonly line: number
  /** Where it starts in the file. */
  readonly offset: number
  /** No row of the file stands before it. */
  readonly first: boolean
}

/** Enough to keep a worker busy for some tenths of a second, little enough for memory. */
const blockBytes = 1 << 20

const NEWLINE = 0x0a

/**
 * Cuts a file into blocks that end at line ends, in large reads; a longer line is a block of its own.
 * @throws DataError `data.not-found`, `data.format`
 */
export function* readBlocks(file: string, size = blockBytes): Generator<Block> {
  const fd = openLines(file)
  try {
    let offset = checkStart(file, fd), line = 1, first = true
    for (;;) {
      const bytes = readLinesFrom(file, fd, offset, size, line)
      if (bytes.length === 0) return
      const block = { file, bytes, line, offset, first }
      first &&= isBlank(bytes)
      offset += bytes.length
      line += countLines(bytes)
      // Who takes it may give its memory away.
      yield block
    }
  } finally {
    fs.closeSync(fd)
  }
}

/** About `size` bytes of whole lines from `offset` on; the rest of the file when no line ends behind them. */
function readLinesFrom(file: string, fd: number, offset: number, size: number, line: number): Buffer {
  let bytes = Buffer.allocUnsafeSlow(size), used = 0
  for (;;) {
    const got = fs.readSync(fd, bytes, used, bytes.length - used, offset + used)
    used += got
    if (got === 0) return bytes.subarray(0, used)
    if (used < bytes.length) continue
    const end = bytes.lastIndexOf(NEWLINE) + 1
    if (end > 0) return bytes.subarray(0, end)
    checkLength(file, line, used)
    const larger = Buffer.allocUnsafeSlow(2 * bytes.length)
    larger.set(bytes)
    bytes = larger
  }
}

function countLines(bytes: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) count++
  return count
}

function isBlank(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte !== 0x20 && (byte < 0x09 || byte > 0x0d)) return false
  return true
}
