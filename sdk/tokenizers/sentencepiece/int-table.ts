/** A hash table from two integers to one, without objects: millions of look-ups a second on large vocabularies. */
export class PairTable {
  /** Slots of (first, second, value); a free slot's first is -1. */
  private slots = new Int32Array(3 * 64).fill(-1)
  private mask = 63
  private size = 0

  /** The value of a pair, or -1. Neither integer may be negative. */
  get(first: number, second: number): number {
    const { slots } = this
    for (let slot = this.slotOf(first, second); ; slot = (slot + 1) & this.mask) {
      const at = 3 * slot
      if (slots[at] === -1) return -1
      if (slots[at] === first && slots[at + 1] === second) return slots[at + 2]
    }
  }

  set(first: number, second: number, value: number): void {
    if (2 * this.size > this.mask) this.grow()
    let slot = this.slotOf(first, second)
    while (this.slots[3 * slot] !== -1 && !(this.slots[3 * slot] === first && this.slots[3 * slot + 1] === second)) slot = (slot + 1) & this.mask
    if (this.slots[3 * slot] === -1) this.size++
    this.slots[3 * slot] = first
    this.slots[3 * slot + 1] = second
    this.slots[3 * slot + 2] = value
  }

  private slotOf(first: number, second: number): number {
    const mixed = Math.imul(Math.imul(first, 0x9e3779b1) ^ second, 0x85ebca6b)
    return (mixed ^ (mixed >>> 15)) & this.mask
  }

  private grow(): void {
    const old = this.slots
    this.mask = 2 * this.mask + 1
    this.slots = new Int32Array(3 * (this.mask + 1)).fill(-1)
    this.size = 0
    for (let at = 0; at < old.length; at += 3) if (old[at] !== -1) this.set(old[at], old[at + 1], old[at + 2])
  }
}

/** Byte strings with a number each, walked byte by byte. */
export class Trie {
  private readonly children = new PairTable()
  private readonly first = new Int32Array(256).fill(-1)
  private values: number[] = [-1]

  /** @param entries strings, in UTF-8 here, and their numbers from 0 */
  constructor(entries: Iterable<readonly [string, number]>) {
    for (const [text, value] of entries) {
      let node = 0
      for (const byte of Buffer.from(text, 'utf8')) node = this.child(node, byte)
      this.values[node] = value
    }
  }

  /** The node behind a byte, or -1; the root is 0. */
  step(node: number, byte: number): number {
    return node === 0 ? this.first[byte] : this.children.get(node, byte)
  }

  /** The number of the string that ends at a node, or -1. */
  valueAt(node: number): number {
    return this.values[node]
  }

  /** End of the longest string that stands at a place, or -1. */
  longest(bytes: Uint8Array, at: number, end: number): number {
    let found = -1
    for (let node = 0, next = at; next < end;) {
      node = this.step(node, bytes[next++])
      if (node < 0) break
      if (this.values[node] >= 0) found = next
    }
    return found
  }

  private child(node: number, byte: number): number {
    const known = this.step(node, byte)
    if (known >= 0) return known
    const made = this.values.push(-1) - 1
    if (node === 0) this.first[byte] = made
    else this.children.set(node, byte, made)
    return made
  }
}
