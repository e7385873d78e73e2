/** A value of a protobuf message: numbers (floats and the low 32 bits of integers) or bytes. */
export type WireValue = number | Uint8Array

/** Bytes that are no protobuf message. */
export class WireError extends RangeError {}

const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5

/**
 * The fields of a protobuf message in their order, as (number, value).
 * @throws WireError where the bytes end inside a field, or hold a kind of field that protobuf does not have
 */
export function* wireFields(bytes: Uint8Array): Generator<[field: number, value: WireValue]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= bytes.length) throw new WireError(`ends inside a number at byte ${at}`)
      const byte = bytes[at++]
      if (shift < 32) value |= (byte & 127) << shift
      if (byte < 128) return value
    }
    throw new WireError(`has a number of more than 10 bytes before byte ${at}`)
  }
  const take = (length: number): number => {
    if (length < 0 || at + length > bytes.length) throw new WireError(`ends inside a field at byte ${at}`)
    const from = at
    at += length
    return from
  }
  while (at < bytes.length) {
    const key = varint(), field = key >>> 3
    switch (key & 7) {
      case VARINT: yield [field, varint()]; break
      case FIXED32: yield [field, view.getFloat32(take(4), true)]; break
      case FIXED64: yield [field, view.getFloat64(take(8), true)]; break
      case BYTES: {
        const length = varint(), from = take(length)
        yield [field, bytes.subarray(from, from + length)]
        break
      }
      default: throw new WireError(`has a field of the unknown kind ${key & 7} before byte ${at}`)
    }
  }
}
