import { deflateSync } from 'node:zlib'
import type { PNG } from 'pngjs'

/** Most frequent colours that stay as they are: the flat parts of a panel. What lies between them (edges of letters) is rounded. */
const exact = 64

function paletteOf({ data }: PNG): { readonly of: (key: number) => number; readonly size: number } {
  const counts = new Map<number, number>()
  for (let i = 0; i < data.length; i += 4) {
    const key = data[i] << 16 | data[i + 1] << 8 | data[i + 2]
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  const frequent = new Set([...counts].sort((a, b) => b[1] - a[1]).slice(0, exact).map(([key]) => key))
  for (let grain = 8; ; grain += 8) {
    const round = (value: number) => Math.min(255, Math.round(value / grain) * grain)
    const of = (key: number) => frequent.has(key) ? key : round(key >> 16) << 16 | round(key >> 8 & 255) << 8 | round(key & 255)
    const size = new Set([...counts.keys()].map(of)).size
    if (size <= 256) return { of, size }
  }
}

function crc(bytes: Uint8Array): number {
  let value = ~0
  for (const byte of bytes) {
    value ^= byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? value >>> 1 ^ 0xedb88320 : value >>> 1
  }
  return ~value >>> 0
}

function chunk(type: string, content: Uint8Array): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), content])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(content.length)
  check.writeUInt32BE(crc(named))
  return Buffer.concat([length, named, check])
}

/** A small PNG of at most 256 colours (W3C PNG, colour type 3), a quarter of what pngjs writes of a panel. */
export function smallPng(picture: PNG): Buffer {
  const { width, height, data } = picture
  const { of } = paletteOf(picture)
  const indices = new Map<number, number>()
  const rows = Buffer.alloc(height * (width + 1))
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const i = (y * width + x) * 4
    const key = of(data[i] << 16 | data[i + 1] << 8 | data[i + 2])
    if (!indices.has(key)) indices.set(key, indices.size)
    rows[y * (width + 1) + 1 + x] = indices.get(key)!
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 3, 0, 0, 0], 8)
  const palette = Buffer.from([...indices.keys()].flatMap((key) => [key >> 16, key >> 8 & 255, key & 255]))
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('PLTE', palette), chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })), chunk('IEND', new Uint8Array())])
}
