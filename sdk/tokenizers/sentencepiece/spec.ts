import type { TextToken } from '../text-tokens'
import type { SentencePieceModel } from './model'
import type { RewriteRule } from './rewrite'

/** Everything that makes a tokenizer of the SentencePiece kind. */
export interface PieceTokenizerSpec {
  readonly source: string
  readonly model: SentencePieceModel
  /** A piece's id in the model is its number plus this. */
  readonly offset: number
  /** Tokens that are read in texts and are not SentencePiece's to find; their ids may be those of pieces. */
  readonly tokens: readonly TextToken[]
  /** Which stretches between such tokens get the space that SentencePiece puts first. */
  readonly prefix: 'each' | 'first' | 'none'
  readonly added: { readonly before: readonly number[]; readonly after: readonly number[] }
  readonly bosId: number | null
  readonly eosId: number | null
  readonly padId: number | null
  readonly specialTexts: Readonly<Record<string, string>>
  readonly chatTemplate: string | null
  readonly rewrite: RewriteRule | null
  /** What some pieces decode to instead of their own text. */
  readonly decoded?: ReadonlyMap<number, string>
}
