import type { PairTable } from './int-table'
import { PieceType, type SentencePieceModel } from './model'

/** Joins neighbouring symbols, best score first and the left one of equals, with a heap: long texts take n log n steps. */
export class MergeQueue {
  private symbols: number[] = []
  private next: number[] = []
  private previous: number[] = []
  /** The heap holds numbers of candidates; a candidate is the place of its left symbol, both symbols and their union. */
  private heap: number[] = []
  private places: number[] = []
  private lefts: number[] = []
  private rights: number[] = []
  private unions: number[] = []
  /** What an unused piece was last made of. */
  private readonly parts = new Map<number, readonly [number, number]>()

  constructor(private readonly merges: PairTable, private readonly model: SentencePieceModel) {}

  /** The symbols after all merges. */
  merge(symbols: readonly number[]): number[] {
    this.start(symbols)
    for (let i = 0; i + 1 < symbols.length; i++) this.offer(i, i + 1)
    while (this.heap.length > 0) {
      const best = this.pop(), place = this.places[best], right = this.next[place]
      // One of the two was joined to another symbol since.
      if (this.symbols[place] !== this.lefts[best] || right < 0 || this.symbols[right] !== this.rights[best]) continue
      this.symbols[place] = this.unions[best]
      this.symbols[right] = -1
      this.next[place] = this.next[right]
      if (this.next[right] >= 0) this.previous[this.next[right]] = place
      this.offer(this.previous[place], place)
      this.offer(place, this.next[place])
    }
    const merged: number[] = []
    for (let i = 0; i >= 0; i = this.next[i]) this.resolve(this.symbols[i], merged)
    return merged
  }

  private start(symbols: readonly number[]): void {
    this.symbols = [...symbols]
    this.next = symbols.map((_, i) => (i + 1 < symbols.length ? i + 1 : -1))
    this.previous = symbols.map((_, i) => i - 1)
    for (const list of [this.heap, this.places, this.lefts, this.rights, this.unions]) list.length = 0
    this.parts.clear()
  }

  private offer(left: number, right: number): void {
    if (left < 0 || right < 0) return
    const union = this.merges.get(this.symbols[left], this.symbols[right])
    if (union < 0) return
    if (this.model.types[union] === PieceType.unused) this.parts.set(union, [this.symbols[left], this.symbols[right]])
    this.places.push(left)
    this.lefts.push(this.symbols[left])
    this.rights.push(this.symbols[right])
    this.push(this.unions.push(union) - 1)
  }

  /** An unused piece comes apart into what it was made of. */
  private resolve(symbol: number, into: number[]): void {
    const parts = this.model.types[symbol] === PieceType.unused ? this.parts.get(symbol) : undefined
    if (parts === undefined) into.push(symbol)
    else for (const part of parts) this.resolve(part, into)
  }

  private before(a: number, b: number): boolean {
    const { scores } = this.model, first = scores[this.unions[a]], second = scores[this.unions[b]]
    return first > second || (first === second && this.places[a] < this.places[b])
  }

  private push(candidate: number): void {
    const { heap } = this
    let at = heap.push(candidate) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.before(candidate, heap[parent])) break
      heap[at] = heap[parent]
      at = parent
    }
    heap[at] = candidate
  }

  private pop(): number {
    const { heap } = this, top = heap[0], last = heap.pop()!
    if (heap.length === 0) return top
    let at = 0
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && this.before(heap[child + 1], heap[child])) child++
      if (!this.before(heap[child], last)) break
      heap[at] = heap[child]
      at = child
    }
    heap[at] = last
    return top
  }
}
