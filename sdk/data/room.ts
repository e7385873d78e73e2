/** The array, or a copy with at least `more` places behind the `used` ones. */
export function withRoom<T extends Int32Array | Uint16Array | Uint8Array>(array: T, used: number, more: number, kind: new (length: number) => T): T {
  if (used + more <= array.length) return array
  const larger = new kind(Math.max(2 * array.length, used + more))
  larger.set(array.subarray(0, used))
  return larger
}
