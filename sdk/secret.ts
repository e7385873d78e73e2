/** A text that only `reveal()` gives away: JSON, logs and notebooks show an object without content. */
export class Secret {
  readonly #text: string

  constructor(text: string) { this.#text = text }

  /** The text itself. */
  reveal(): string { return this.#text }
}

/** Access tokens of a run, by hub. They go to its worker alone, and into no plan, file or message. */
export interface Tokens {
  /** Of Hugging Face's hub. Default: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or the file of `hf auth login`. */
  readonly huggingface?: string | Secret
  /** Of Baidu AI Studio. Default: AISTUDIO_ACCESS_TOKEN, or the file of AI Studio's own library. */
  readonly aistudio?: string | Secret
}

/** The text of a token, plain or hidden. */
export function reveal(token: string | Secret | undefined): string | undefined { return token instanceof Secret ? token.reveal() : token }
