/** Message of a chat, as chat templates read it. */
export interface ChatMessage {
  /** Who speaks. */
  readonly role: 'system' | 'user' | 'assistant' | (string & {})
  /** What is said. */
  readonly content: string
}

export interface EncodeOptions {
  /** Adds what the tokenizer puts round a text by itself, such as BOS. Default false. */
  readonly special?: boolean
  /**
   * The text was rendered by a template, which writes special tokens out: they are read as tokens. Default false, and then the
   * kind of tokenizer decides: tokenizer.json ones read them in any text, a bare SentencePiece model in none.
   */
  readonly rendered?: boolean
}

export interface DecodeOptions {
  /** Leaves special tokens (`<|im_end|>`, `</s>`, …) out of the text. Default false. */
  readonly skipSpecial?: boolean
}

export interface ChatOptions {
  /** Ends the text with the opening of an assistant's answer. Default false. */
  readonly addGenerationPrompt?: boolean
  /** Further variables of the template. */
  readonly variables?: Readonly<Record<string, unknown>>
}

/** A place in a text (UTF-16 index) whose token number is asked for. */
export interface Mark {
  readonly at: number
  /** True: no token may straddle the place; the text is encoded in two parts there if one does. */
  readonly split: boolean
}

/** Ids of a text, and for each mark the first token that starts at or after it (ids.length when none does). */
export interface MarkedIds {
  readonly ids: Int32Array
  readonly cuts: readonly number[]
}

/** Turns a stream of ids into text. `push` returns only whole characters; `flush` returns what is left. */
export interface StreamDecoder {
  push(id: number): string
  flush(): string
}

/**
 * One tokenizer, whatever file it comes from. Encoding is asynchronous: the library works on its own threads. Batches of
 * byte-level BPE are encoded on the caller's thread, at some MB a second. Decoding is synchronous.
 */
export interface Tokenizer {
  /** The folder or file that it was read from. */
  readonly source: string
  /** SHA-256 over everything that decides ids and rendered chats. */
  readonly fingerprint: string
  /** One more than the highest id. */
  readonly vocabSize: number
  /** Id of the beginning-of-sequence token; `null`: there is none. */
  readonly bosId: number | null
  /** Id of the end-of-sequence token; `null`: there is none. A model may stop at others too. */
  readonly eosId: number | null
  /** Id of the padding token; `null`: there is none. */
  readonly padId: number | null
  /** Ids of special (control) tokens. */
  readonly specialIds: ReadonlySet<number>
  /** Ids that `special: true` puts before and after a text. */
  readonly added: { readonly before: readonly number[]; readonly after: readonly number[] }
  /** The model's own chat template (Jinja); `null`: it has none. */
  readonly chatTemplate: string | null

  /** Texts of special tokens (`bos_token`, `eos_token`, …), as chat templates read them. */
  readonly specialTexts: Readonly<Record<string, string>>

  /**
   * Ids of one text.
   * @throws ModelError `tokenizer.file` when the files hold no usable tokenizer
   */
  encode(text: string, options?: EncodeOptions): Promise<number[]>
  /** Ids of many texts at once; one array a text, in their order. */
  encodeBatch(texts: readonly string[], options?: EncodeOptions): Promise<Int32Array[]>
  /** Many texts without added tokens, with the token numbers of marked places. */
  encodeMarked(texts: readonly { readonly text: string; readonly marks: readonly Mark[] }[]): Promise<MarkedIds[]>
  /** Text of ids. Ids without a token give none; bytes that make no character give U+FFFD. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string
  /** A decoder with a memory of its own, for ids that come one by one. */
  streamDecoder(options?: DecodeOptions): StreamDecoder
  /** The token as the vocabulary writes it (`Ġthe`, `<|im_end|>`); `<no token N>` for an id without one. */
  tokenOf(id: number): string
  /** Id of a token as the vocabulary writes it; `null`: there is none. */
  idOf(token: string): number | null
  /**
   * Renders messages with the model's chat template.
   * @throws ModelError `tokenizer.no-chat-template`, `tokenizer.chat-template`
   */
  renderChat(messages: readonly ChatMessage[], options?: ChatOptions): string
  /** Ids of a rendered chat. The template writes BOS itself where the model wants one, so none is added. */
  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): Promise<number[]>
}
