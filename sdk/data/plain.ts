import type { Tokenizer } from '../tokenizers'
import { IGNORED } from './dataset'
import type { EncodedRow, FittedPrompt, Rounds, RowEncoder, TemplateSettings } from './encode'

/** A source and its target; `whole` when neither was cut. */
interface EncodedRound { readonly source: Int32Array; readonly target: Int32Array; readonly whole: boolean }

/**
 * The plain form: source, then target, tokenised apart. The source, with the special tokens that the tokenizer adds,
 * loses its left end beyond srcLength (the special tokens stay); the target loses its right end beyond what maxLength
 * leaves, and EOS follows when a whole target leaves room. Of several rounds the last ones that fit are kept, BOS first,
 * and all their targets are trained.
 */
export class PlainEncoder implements RowEncoder {
  readonly kind = 'plain'

  constructor(private readonly tokenizer: Tokenizer, private readonly settings: TemplateSettings) {}

  async encode(rows: readonly Rounds[]): Promise<EncodedRow[]> {
    const ids = await this.tokenizer.encodeBatch(rows.flatMap(({ src, tgt }) => [...src, ...tgt]))
    let at = 0
    return rows.map(({ src: { length } }) => {
      const sources = ids.slice(at, at += length)
      const targets = ids.slice(at, at += length)
      return this.join(sources, targets).row
    })
  }

  async prompt(rounds: Rounds): Promise<number[]> { return (await this.fitPrompt(rounds)).ids }

  async fitPrompt({ src, tgt }: Rounds): Promise<FittedPrompt> {
    const ids = await this.tokenizer.encodeBatch([...src, ...tgt.slice(0, src.length - 1)])
    const { row, rounds } = this.join(ids.slice(0, src.length), [...ids.slice(src.length), null])
    return { ids: [...row.ids], dropped: src.length - rounds, cut: !this.fits(ids[src.length - 1]) }
  }

  under(changes: Partial<Omit<TemplateSettings, 'template'>>): RowEncoder { return new PlainEncoder(this.tokenizer, { ...this.settings, ...changes }) }

  split(row: Rounds): readonly Rounds[] { return [row] }

  notes(): readonly string[] { return [] }

  /** @param targets the last is null for a prompt, which ends with its source */
  private join(sources: readonly Int32Array[], targets: readonly (Int32Array | null)[]): { readonly row: EncodedRow; readonly rounds: number } {
    const { before } = this.tokenizer.added
    const last = sources.length - 1
    const rounds = [this.lastRound(sources[last], targets[last])]
    let length = before.length + sizeOf(rounds[0])
    for (let r = last - 1; r >= 0; r--) {
      const round = this.earlierRound(sources[r], targets[r]!)
      if (length + sizeOf(round) > this.settings.maxLength) break
      rounds.unshift(round)
      length += sizeOf(round)
    }
    const ids = new Int32Array(length)
    const labels = new Int32Array(length).fill(IGNORED)
    ids.set(before)
    let at = before.length
    for (const { source, target } of rounds) {
      ids.set(source, at)
      ids.set(target, at + source.length)
      labels.set(target, at + source.length)
      at += source.length + target.length
    }
    return { row: { ids, labels, truncated: rounds.length < sources.length || rounds.some(r => !r.whole) }, rounds: rounds.length }
  }

  private lastRound(sourceIds: Int32Array, targetIds: Int32Array | null): EncodedRound {
    const source = this.source(sourceIds)
    if (targetIds === null) return { source, target: new Int32Array(0), whole: true }
    const room = Math.max(0, this.settings.maxLength - this.tokenizer.added.before.length - source.length)
    const target = targetIds.length < room ? this.withEos(targetIds) : targetIds.subarray(0, room)
    return { source, target, whole: this.fits(sourceIds) && targetIds.length <= room }
  }

  /** Kept whole or not at all, but for a source beyond srcLength. */
  private earlierRound(sourceIds: Int32Array, targetIds: Int32Array): EncodedRound {
    return { source: this.source(sourceIds), target: this.withEos(targetIds), whole: this.fits(sourceIds) }
  }

  private source(ids: Int32Array): Int32Array {
    return Int32Array.from([...ids.subarray(Math.max(0, ids.length - this.sourceRoom())), ...this.tokenizer.added.after])
  }

  private fits(sourceIds: Int32Array): boolean { return sourceIds.length <= this.sourceRoom() }

  /** Tokens of a source's own text, as the tokenizer's special tokens count towards srcLength too. */
  private sourceRoom(): number {
    const { before, after } = this.tokenizer.added
    return Math.max(0, this.settings.srcLength - before.length - after.length)
  }

  private withEos(ids: Int32Array): Int32Array {
    return this.tokenizer.eosId === null ? ids : Int32Array.from([...ids, this.tokenizer.eosId])
  }
}

function sizeOf({ source, target }: EncodedRound): number {
  return source.length + target.length
}
