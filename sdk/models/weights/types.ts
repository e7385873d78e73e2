import type { DType, Tensor } from 'fettle-native'

/** Shape and number type of one weight, as `Weights.read` gives it by default. */
export interface TensorInfo {
  readonly shape: readonly number[]
  readonly dtype: DType
}

/** A file of tensors: their table, and each by its name. */
export interface TensorFile {
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** The tensor as stored. Don't write into it. */
  read(name: string): Tensor
  close(): void
}

export interface ReadOptions {
  /** Number type of the tensor that is returned; by default the one of `info`. Rounding is to nearest, ties to even. */
  readonly dtype?: DType
}

/** Raw material of a tokenizer, as a GGUF file carries it. */
export interface GgufTokenizerMaterial {
  readonly kind: 'gguf'
  /** The file that it came from, for error messages. */
  readonly path: string
  /** `tokenizer.ggml.model`: `gpt2` is byte-level BPE, `llama` is SentencePiece. */
  readonly model: string
  /** `tokenizer.ggml.pre`: name of the split rule, such as `smollm`, `llama-bpe`, `default`. */
  readonly pre?: string
  readonly tokens: readonly string[]
  readonly merges?: readonly string[]
  readonly scores?: readonly number[]
  /** llama.cpp's token types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
  readonly tokenTypes?: readonly number[]
  readonly ids: {
    readonly bos?: number
    readonly eos?: number
    readonly unknown?: number
    readonly padding?: number
    readonly separator?: number
    readonly mask?: number
    /** End of turn. */
    readonly eot?: number
    /** End of message. */
    readonly eom?: number
  }
  readonly addBos?: boolean
  readonly addEos?: boolean
  readonly addSpacePrefix?: boolean
  readonly removeExtraWhitespaces?: boolean
  readonly chatTemplate?: string
  /** Further templates by name (`tokenizer.chat_template.NAME`), such as `tool_use`. */
  readonly namedChatTemplates?: Readonly<Record<string, string>>
}

/** Where the tokenizer of a model comes from: files of a folder, or what a GGUF file carries. */
export type TokenizerSource = { readonly kind: 'file'; readonly folder: string } | GgufTokenizerMaterial

/**
 * An opened checkpoint. Names are those of the family's Hugging Face checkpoints, whatever the file calls them.
 * Opening reads headers only and needs no native addon; `read` does.
 */
export interface Weights {
  readonly kind: 'safetensors' | 'pickle' | 'paddle' | 'gguf' | 'parts'
  /** The folder or the .gguf file. */
  readonly path: string
  /** Content of config.json, or the equivalent built from GGUF metadata. */
  readonly config: Readonly<Record<string, unknown>>
  /** Content of generation_config.json, when there is one. */
  readonly generationConfig?: Readonly<Record<string, unknown>>
  has(name: string): boolean
  names(): string[]
  /** @throws ModelError `model.tensor` when there is no such weight. */
  info(name: string): TensorInfo
  /** Zero-copy where the file holds the asked number type at an aligned offset. Don't write into the result: copy it first. */
  read(name: string, options?: ReadOptions): Tensor
  /** Releases file handles; tensors that were read stay valid. */
  close(): void
  tokenizer(): TokenizerSource
}
