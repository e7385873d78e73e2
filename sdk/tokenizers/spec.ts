/** Everything that makes a tokenizer of the tokenizer.json kind, whatever file it was read from. */
export interface TokenizerSpec {
  readonly source: string
  /** Content of tokenizer.json. */
  readonly json: TokenizerJson
  /** Texts of bos_token, eos_token, pad_token, unk_token and others that chat templates may read. */
  readonly specialTexts: Readonly<Record<string, string>>
  readonly chatTemplate: string | null
}

export interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
  readonly single_word: boolean
  readonly lstrip: boolean
  readonly rstrip: boolean
  readonly normalized: boolean
}

/** The parts of tokenizer.json that Fettle reads or writes; the rest passes through. */
export interface TokenizerJson {
  added_tokens: AddedToken[]
  post_processor: unknown
  model: Record<string, unknown>
  [part: string]: unknown
}

/** An added token that is found verbatim in the text. */
export function addedToken(id: number, content: string, special: boolean): AddedToken {
  return { id, content, special, single_word: false, lstrip: false, rstrip: false, normalized: false }
}
