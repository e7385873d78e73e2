import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { ModelError } from '../../../errors'

const window = 1 << 16

/** Why a file is refused, in the words of every error of this folder. */
export function broken(path: string, seen: string, details: Record<string, unknown> = {}, remedy = 'download or copy the file again'): ModelError {
  return new ModelError('model.pickle', `${path}: ${seen}; ${remedy}`, { path, ...details })
}

/** Reads forward through a part of a file, a piece at a time; long values are passed over and read later, in place. */
export class Bytes {
  private buffer = Buffer.alloc(0)
  private start = 0

  private constructor(readonly path: string, private readonly fd: number, public at: number, readonly end: number) {}

  /** Runs `use` over the bytes from `begin` to `end` (left out: the file's end). */
  static over<T>(path: string, begin: number, end: number | undefined, use: (bytes: Bytes) => T): T {
    const fd = openSync(path, 'r')
    try {
      return use(new Bytes(path, fd, begin, end ?? fstatSync(fd).size))
    } finally {
      closeSync(fd)
    }
  }

  /** The next `count` bytes; valid until the next call. */
  take(count: number): Buffer {
    this.need(count)
    const from = this.at - this.start
    if (from < 0 || from + count > this.buffer.length) this.fill(count)
    const first = this.at - this.start
    this.at += count
    return this.buffer.subarray(first, first + count)
  }

  /** Passes over `count` bytes and gives where they began. */
  skip(count: number): number {
    this.need(count)
    const begin = this.at
    this.at += count
    return begin
  }

  u8(): number { return this.take(1)[0] }
  u16(): number { return this.take(2).readUInt16LE() }
  u32(): number { return this.take(4).readUInt32LE() }
  i32(): number { return this.take(4).readInt32LE() }
  u64(): number {
    const value = this.take(8).readBigUInt64LE()
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw broken(this.path, `has the length ${value} at byte ${this.at - 8}, more than any file holds`)
    return Number(value)
  }

  /** A line of ASCII text without its end, as the oldest opcodes have them. */
  line(): string {
    let text = ''
    for (let byte = this.u8(); byte !== 10; byte = this.u8()) {
      if (text.length === 1024) throw broken(this.path, `has a line of more than 1024 characters at byte ${this.at}`)
      text += String.fromCharCode(byte)
    }
    return text
  }

  private need(count: number): void {
    if (count < 0 || this.at + count > this.end) throw broken(this.path, `is cut off: ${count} bytes are asked for at byte ${this.at}, and ${Math.max(0, this.end - this.at)} are there`, { at: this.at })
  }

  private fill(count: number): void {
    const buffer = Buffer.alloc(Math.min(Math.max(count, window), this.end - this.at))
    let got = 0
    while (got < count) {
      const read = readSync(this.fd, buffer, got, buffer.length - got, this.at + got)
      if (read === 0) throw broken(this.path, `ended at byte ${this.at + got} while it was read`)
      got += read
    }
    this.buffer = buffer.subarray(0, got)
    this.start = this.at
  }
}
