/** Message of a chat, as chat templates read it. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | (string & {})
  readonly content: string
}

export interface EncodeOptions {
  /** Adds what the tokenizer puts round a text by itself, such as BOS. Default false. */
  readonly special?: boolean
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
 * One tokenizer, whatever file it comes from. Encoding is asynchronous: the library works on its own threads,
 * so that a notebook or a training loop stays responsive. Decoding is synchronous.
 */
export interface Tokenizer {
  /** The folder or file that it was read from. */
  readonly source: string
  /** SHA-256 over everything that decides ids and rendered chats. */
  readonly fingerprint: string
  /** One more than the highest id. */
  readonly vocabSize: number
  readonly bosId: number | null
  readonly eosId: number | null
  readonly padId: number | null
  /** Ids of special (control) tokens. */
  readonly specialIds: ReadonlySet<number>
  /** What `special: true` puts before and after a text. */
  readonly added: { readonly before: readonly number[]; readonly after: readonly number[] }
  /** The model's own chat template (Jinja), if it has one. */
  readonly chatTemplate: string | null

  /** Texts of special tokens (`bos_token`, `eos_token`, …), as chat templates read them. */
  readonly specialTexts: Readonly<Record<string, string>>

  encode(text: string, options?: EncodeOptions): Promise<number[]>
  /** Many texts at once, on all cores. */
  encodeBatch(texts: readonly string[], options?: EncodeOptions): Promise<Int32Array[]>
  /** Many texts without added tokens, with the token numbers of marked places. */
  encodeMarked(texts: readonly { readonly text: string; readonly marks: readonly Mark[] }[]): Promise<MarkedIds[]>
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string
  streamDecoder(options?: DecodeOptions): StreamDecoder
  /** The token as the vocabulary writes it (`Ġthe`, `<|im_end|>`). */
  tokenOf(id: number): string
  /** Id of a token as the vocabulary writes it. */
  idOf(token: string): number | null
  /**
   * Renders messages with the model's chat template.
   * @throws ModelError `tokenizer.no-chat-template`, `tokenizer.chat-template`
   */
  renderChat(messages: readonly ChatMessage[], options?: ChatOptions): string
  /** Ids of a rendered chat. The template writes BOS itself where the model wants one, so none is added. */
  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): Promise<number[]>
}
