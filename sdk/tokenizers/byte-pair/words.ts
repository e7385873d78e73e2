import { withRoom } from '../../data/room'

/** Characters and ids of all words together; beyond, the table starts anew, which bounds its memory at about 50 MB. */
const mostCharacters = 1 << 23, mostIds = 1 << 22

/** Words that were seen and their ids, without an object or a string for each: a look-up costs as much as reading the word. */
export class WordTable {
  /** Slots of [hash, where the word starts, its length, where its ids start, their number]; length 0: free. */
  private slots = new Int32Array(5 << 12)
  private mask = (1 << 12) - 1
  private words = 0
  private characters = new Uint16Array(1 << 14)
  private usedCharacters = 0
  /** Ids of all words; those of slot `s` are [first(s), first(s) + count(s)). */
  ids = new Int32Array(1 << 14)
  private usedIds = 0

  static hash(codes: Uint16Array, from: number, to: number): number {
    let hash = 0x811c9dc5
    for (let i = from; i < to; i++) hash = Math.imul(hash ^ codes[i], 0x01000193)
    return hash ^ (hash >>> 15)
  }

  /** The slot of a word, or -1. */
  find(hash: number, codes: Uint16Array, from: number, to: number): number {
    const { slots, characters, mask } = this, length = to - from
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const at = 5 * slot
      if (slots[at + 2] === 0) return -1
      if (slots[at] !== hash || slots[at + 2] !== length) continue
      const start = slots[at + 1]
      let i = 0
      while (i < length && characters[start + i] === codes[from + i]) i++
      if (i === length) return slot
    }
  }

  first(slot: number): number { return this.slots[5 * slot + 3] }

  count(slot: number): number { return this.slots[5 * slot + 4] }

  /** Takes a word that is not in the table. */
  add(hash: number, codes: Uint16Array, from: number, to: number, ids: Int32Array, count: number): void {
    const length = to - from
    if (this.usedCharacters + length > mostCharacters || this.usedIds + count > mostIds) this.clear()
    if (2 * this.words > this.mask) this.grow()
    this.characters = withRoom(this.characters, this.usedCharacters, length, Uint16Array)
    this.characters.set(codes.subarray(from, to), this.usedCharacters)
    this.ids = withRoom(this.ids, this.usedIds, count, Int32Array)
    this.ids.set(ids.subarray(0, count), this.usedIds)
    this.put(hash, this.usedCharacters, length, this.usedIds, count)
    this.usedCharacters += length
    this.usedIds += count
    this.words++
  }

  private put(hash: number, start: number, length: number, first: number, count: number): void {
    const { slots, mask } = this
    let slot = hash & mask
    while (slots[5 * slot + 2] !== 0) slot = (slot + 1) & mask
    const at = 5 * slot
    slots[at] = hash
    slots[at + 1] = start
    slots[at + 2] = length
    slots[at + 3] = first
    slots[at + 4] = count
  }

  private grow(): void {
    const old = this.slots
    this.mask = 2 * this.mask + 1
    this.slots = new Int32Array(5 * (this.mask + 1))
    for (let at = 0; at < old.length; at += 5) if (old[at + 2] !== 0) this.put(old[at], old[at + 1], old[at + 2], old[at + 3], old[at + 4])
  }

  private clear(): void {
    this.slots.fill(0)
    this.words = this.usedCharacters = this.usedIds = 0
  }
}
