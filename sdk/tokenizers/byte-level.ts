import { addedToken, type AddedToken, type TokenizerJson } from './spec'

/** The characters that GPT-2's byte-level vocabularies write bytes 0 to 255 with: bytes that show as they are, the others from U+0100 on. */
export function byteAlphabet(): string[] {
  const shows = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255)
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(shows(byte) ? byte : next++))
}

/** A part of a tokenizer.json that works on bytes; `useRegex`: with GPT-2's own splitting. */
export function byteLevel(useRegex: boolean): Record<string, unknown> {
  return { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: useRegex }
}

/** What a byte-level BPE is made of, for the content of a tokenizer.json. */
export interface ByteLevelParts {
  readonly vocab: Readonly<Record<string, number>>
  readonly merges: readonly (readonly [string, string])[]
  readonly normalizer: Record<string, unknown> | null
  readonly preTokenizer: Record<string, unknown>
  /** A whole piece that is in the vocabulary stays whole, whatever the merges say. */
  readonly ignoreMerges: boolean
  readonly added: readonly AddedToken[]
  /** Token that goes before each text. */
  readonly before: AddedToken | null
}

/** The content of a tokenizer.json of byte-level BPE. */
export function byteLevelJson({ vocab, merges, normalizer, preTokenizer, ignoreMerges, added, before }: ByteLevelParts): TokenizerJson {
  const part = (name: 'A' | 'B', type: number): unknown[] => [...(before === null ? [] : [{ SpecialToken: { id: before.content, type_id: type } }]), { Sequence: { id: name, type_id: type } }]
  return {
    version: '1.0', truncation: null, padding: null, normalizer, pre_tokenizer: preTokenizer, decoder: byteLevel(true),
    post_processor: before === null ? byteLevel(true) : {
      type: 'TemplateProcessing', single: part('A', 0), pair: [...part('A', 0), ...part('B', 1)],
      special_tokens: { [before.content]: { id: before.content, ids: [before.id], tokens: [before.content] } },
    },
    added_tokens: [...added].sort((a, b) => a.id - b.id),
    model: {
      type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false,
      ignore_merges: ignoreMerges, vocab, merges,
    },
  }
}

/** Special tokens in the order of their ids, from `first` on. */
export function specialFrom(first: number, contents: readonly string[]): AddedToken[] {
  return contents.map((content, i) => addedToken(first + i, content, true))
}
