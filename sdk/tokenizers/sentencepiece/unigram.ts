import { Trie } from './int-table'
import { inText, PieceType, type SentencePieceModel } from './model'
import { characterLength } from './normalize'
import type { Splitter, TakePiece } from './split'

/** How much worse than the worst piece an unknown character is. */
const unknownPenalty = 10
/** Sums beyond this start from 0 again, so that single precision suffices for texts of any length. */
const largestSum = 100_000

/**
 * The best path through a unigram model, as EncodeOptimized of SentencePiece 0.2.3 finds it (src/unigram_model.cc): scores
 * are summed in single precision from the left, and of equal paths the one that was found first stays, which decides ties.
 */
export class UnigramSplitter implements Splitter {
  private readonly trie: Trie
  private readonly unknownScore: number
  /** For each place: the score of the best path that ends there, where its last piece starts (-1: none), and that piece. */
  private scores = new Float32Array(0)
  private starts = new Int32Array(0)
  private ids = new Int32Array(0)

  constructor(private readonly model: SentencePieceModel) {
    const { pieces, scores, types } = model
    this.trie = new Trie(pieces.map((piece, id) => [piece, id] as const).filter(([, id]) => inText(types[id])))
    const normal = scores.filter((_, id) => types[id] === PieceType.normal)
    this.unknownScore = Math.fround(normal.reduce((least, score) => Math.min(least, score), Infinity) - unknownPenalty)
  }

  split(bytes: Buffer, from: number, to: number, take: TakePiece): void {
    this.reset(to - from + 1)
    for (let at = from; at < to;) {
      const next = Math.min(to, at + characterLength(bytes[at]))
      if (Math.abs(this.scores[at - from]) > largestSum) this.startSumAt(at - from, to - from)
      if (!this.piecesFrom(bytes, from, at, to, next)) this.offer(at - from, next - from, this.model.unknownId, this.unknownScore)
      at = next
    }
    const path: number[] = []
    for (let end = to - from; end > 0; end = this.starts[end]) path.push(end)
    for (let i = path.length - 1; i >= 0; i--) take(this.ids[path[i]], from + this.starts[path[i]], from + path[i])
  }

  /** Offers each piece that starts at a place; true when one of them is the character there. */
  private piecesFrom(bytes: Buffer, from: number, at: number, to: number, next: number): boolean {
    const { trie } = this, { types, scores } = this.model
    let alone = false
    for (let node = 0, end = at; end < to;) {
      node = trie.step(node, bytes[end++])
      if (node < 0) break
      const id = trie.valueAt(node)
      if (id < 0 || types[id] === PieceType.unused) continue
      // A user-defined piece is worth more than any other path, a longer one more than several.
      const score = types[id] === PieceType.userDefined ? Math.fround(0.1 * (end - at - 1)) : scores[id]
      this.offer(at - from, end - from, id, score)
      if (end === next) alone = true
    }
    return alone
  }

  private offer(start: number, end: number, id: number, own: number): void {
    const score = Math.fround(own + this.scores[start])
    if (this.starts[end] !== -1 && !(score > this.scores[end])) return
    this.scores[end] = score
    this.starts[end] = start
    this.ids[end] = id
  }

  private startSumAt(place: number, end: number): void {
    const offset = this.scores[place]
    for (let i = place; i <= end; i++) if (i === place || this.starts[i] !== -1) this.scores[i] -= offset
  }

  private reset(size: number): void {
    if (size > this.scores.length) {
      this.scores = new Float32Array(2 * size)
      this.starts = new Int32Array(2 * size)
      this.ids = new Int32Array(2 * size)
    }
    this.scores[0] = 0
    this.starts.fill(-1, 0, size)
  }
}
