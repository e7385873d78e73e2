import { bytePieces, firstPieces, pieceTypes, sentencePieceFile } from '../../support/sentencepiece'

/** The parts of llama-tokenizer-js in use; the package is an ES module. */
export interface LlamaTokenizerJs {
  readonly vocabById: readonly string[]
  encode(text: string): number[]
  decode(ids: readonly number[]): string
}

export async function llamaTokenizerJs(): Promise<LlamaTokenizerJs> {
  const load = new Function('name', 'return import(name)') as (name: string) => Promise<{ default: LlamaTokenizerJs }>
  return (await load('llama-tokenizer-js')).default
}

/** Runs of spaces were added to LLaMA's vocabulary by hand, with this score: they are merged last. */
const scoreOfSpaces = -1e9

/**
 * LLaMA's tokenizer.model, made anew from the vocabulary that llama-tokenizer-js carries: after the special and byte pieces,
 * each piece's score is one less than the score before, as the order of that package's merges shows.
 */
export function llamaModel(vocabulary: readonly string[]): Buffer {
  const first = [...firstPieces, ...bytePieces]
  const normal = vocabulary.slice(first.length).map((text, i) => ({ text, score: /^\u2581{2,}$/.test(text) ? scoreOfSpaces : -i, type: pieceTypes.normal }))
  return sentencePieceFile([...first, ...normal], { kind: 'bpe', byteFallback: true })
}
