import { BpeSplitter } from './bpe'
import { PieceType, type SentencePieceModel } from './model'
import { Normalizer } from './normalize'
import type { Splitter } from './split'
import { UnigramSplitter } from './unigram'

/** Ids of a text, and the bytes [from, to) of its UTF-8 form that each stands for (from = to where it stands for none). */
export interface PieceSpans {
  readonly ids: number[]
  readonly from: number[]
  readonly to: number[]
}

export interface SplitOptions {
  /** False: no space is put before the text, although the model asks for one. Default true. */
  readonly prefix?: boolean
  /** Bytes of the text, rising, that no piece may straddle. */
  readonly borders?: readonly number[]
}

/** Encodes as SentencePiece does, id by id. Nothing in a text is read as a control piece. */
export class SentencePiece {
  private readonly normalizer: Normalizer
  private readonly splitter: Splitter
  /** Id of each byte's piece, where unknown characters fall back to bytes. */
  private readonly byteIds: Int32Array | null

  constructor(private readonly model: SentencePieceModel) {
    this.normalizer = new Normalizer(model)
    this.splitter = model.kind === 'bpe' ? new BpeSplitter(model) : new UnigramSplitter(model)
    this.byteIds = model.byteFallback ? byteIds(model) : null
  }

  /** Ids of a text, and where each comes from. */
  encode(text: string, { prefix = true, borders = [] }: SplitOptions = {}): PieceSpans {
    const { bytes, length, origin } = this.normalizer.normalize(Buffer.from(text, 'utf8'), prefix)
    const { byteIds } = this, { unknownId } = this.model
    const spans: PieceSpans = { ids: [], from: [], to: [] }
    const add = (id: number, from: number, to: number): void => {
      spans.ids.push(id)
      spans.from.push(origin[from])
      spans.to.push(origin[to])
    }
    let afterUnknown = false
    const take = (id: number, from: number, to: number): void => {
      const unknown = id === unknownId
      if (unknown && byteIds !== null) for (let at = from; at < to; at++) add(byteIds[bytes[at]], from, to)
      // Unknown characters side by side make one unknown token.
      else if (unknown && afterUnknown) spans.to[spans.to.length - 1] = origin[to]
      else add(id, from, to)
      afterUnknown = unknown
    }
    let from = 0
    for (const border of borders) {
      let to = from
      while (to < length && origin[to] < border) to++
      this.splitter.split(bytes, from, to, take)
      afterUnknown = false
      from = to
    }
    this.splitter.split(bytes, from, length, take)
    return spans
  }
}

function byteIds({ pieces, types }: SentencePieceModel): Int32Array {
  const ids = new Int32Array(256)
  pieces.forEach((piece, id) => { if (types[id] === PieceType.byte) ids[parseInt(piece.slice(3, 5), 16)] = id })
  return ids
}
