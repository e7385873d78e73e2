import * as fs from 'node:fs'

/** A tensor of a test's file: numbers in order, and its shape. */
export interface PlainTensor { readonly shape: number[]; readonly values: number[] }

/** Reads fp32 and int64 tensors of a safetensors file without the code under test. */
export function readPlain(file: string): Map<string, PlainTensor> {
  const bytes = fs.readFileSync(file)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__')
  return new Map(entries.map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
    const data = bytes.subarray(8 + length + from, 8 + length + to)
    const step = dtype === 'I64' ? 8 : 4
    const values = Array.from({ length: data.length / step }, (_, i) => (step === 8 ? Number(data.readBigInt64LE(i * 8)) : data.readFloatLE(i * 4)))
    return [name, { shape, values }]
  }))
}

/** Writes tensors for a command to read. */
export function writePlain(file: string, tensors: Record<string, PlainTensor & { readonly dtype: 'I64' | 'F32' }>): void {
  const header: Record<string, unknown> = {}
  const parts: Buffer[] = []
  let offset = 0
  for (const [name, { dtype, shape, values }] of Object.entries(tensors)) {
    const data = dtype === 'I64' ? Buffer.from(BigInt64Array.from(values, BigInt).buffer) : Buffer.from(Float32Array.from(values).buffer)
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.length] }
    parts.push(data)
    offset += data.length
  }
  const text = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  fs.writeFileSync(file, Buffer.concat([size, text, ...parts]))
}

/** ‖a − b‖ / ‖b‖. */
export function relativeError(a: readonly number[], b: readonly number[]): number {
  const norm = (values: readonly number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
  return norm(a.map((value, i) => value - b[i])) / (norm(b) || 1)
}

/** The largest |a − b|. */
export function largestDifference(a: readonly number[], b: readonly number[]): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0)
}
