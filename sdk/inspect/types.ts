import type { DataNote } from '../data/dataset'

/** A part of a model and the values that it holds. */
export interface ModelPart {
  /** Which part. */
  readonly name: 'embedding' | 'attention' | 'MLP' | 'norms' | 'head'
  /** Values, biases included. A head that is tied to the embedding holds none of its own. */
  readonly parameters: number
}

/** What trains of a model. */
export interface TrainableShare {
  /** `sft`: all weights; `lora`: an adapter; `prefix`: keys and values before each row. */
  readonly method: 'sft' | 'lora' | 'prefix'
  /** Values that train. */
  readonly parameters: number
  /** Values in all, the adapter's included. */
  readonly of: number
  /** `parameters / of`, from 0 to 1. */
  readonly share: number
}

/** Number type of stored weights. */
export interface StoredType {
  /** As the file names it: `bfloat16`, or a GGUF type such as `Q4_1`. */
  readonly name: string
  /** Weights stored in it. */
  readonly tensors: number
  /** Values stored in it. */
  readonly parameters: number
}

/** What a model's configuration and the headers of its weight files say. */
export interface ModelFacts {
  /** The name that was asked for. */
  readonly name: string
  /** Folder or .gguf file on this machine. */
  readonly path: string
  /** Kind of the weight files; `parts`: a checkpoint of several ranks. */
  readonly format: 'safetensors' | 'pickle' | 'paddle' | 'gguf' | 'parts'
  /** Family, such as `llama`. */
  readonly family: string
  /** Decoder layers. */
  readonly layers: number
  /** Width of the residual stream. */
  readonly hiddenSize: number
  /** Inner width of the MLP. */
  readonly intermediateSize: number
  /** Attention heads of a layer. */
  readonly heads: number
  /** Key/value heads of a layer, each shared by `heads / kvHeads` heads. */
  readonly kvHeads: number
  /** Values of one head. */
  readonly headDim: number
  /** Tokens that the embedding knows. */
  readonly vocabSize: number
  /** Longest text that the model was made for, in tokens. */
  readonly contextLength: number
  /** True: the head is the embedding's matrix. */
  readonly tiedHead: boolean
  /** Values in all. */
  readonly parameters: number
  /** Where the values are. */
  readonly parts: readonly ModelPart[]
  /** Number types of the stored weights, the commonest first. */
  readonly types: readonly StoredType[]
  /** Size of the weight files. */
  readonly bytes: number
  /** `null` when only a name was given: nothing says what would train. */
  readonly trainable: TrainableShare | null
  /** What is wrong with the files, in words. Empty for a whole model. */
  readonly warnings: readonly string[]
}

/** Rows by length. Lengths in tokens. */
export interface LengthHistogram {
  /** The shortest row. */
  readonly min: number
  /** Half of the rows are at most so long. */
  readonly median: number
  /** 95 of 100 rows are at most so long. */
  readonly p95: number
  /** The longest row. */
  readonly max: number
  /** Tokens of all rows over their number. */
  readonly mean: number
  /** Bins of equal width; a row of length n is in the bin with `from <= n < to`. */
  readonly bins: readonly { readonly from: number; readonly to: number; readonly rows: number }[]
}

/** Positions that one epoch computes, packed and padded. Shares from 0 to 1. */
export interface PaddingFacts {
  /** Rows of a batch. */
  readonly batch: number
  /** Positions without any padding: the tokens themselves. */
  readonly packed: number
  /** Positions when each batch is padded to its longest row, in the order of the first epoch. */
  readonly toLongest: number
  /** Positions when each row is padded to `maxLength`. */
  readonly toMaxLength: number
  /** Share of `toLongest` that packing saves. */
  readonly saved: number
  /** Share of `toMaxLength` that packing saves. */
  readonly savedOfMaxLength: number
}

/** What training sees of a data set. */
export interface DataFacts {
  /** Folder or file, as it was given. */
  readonly path: string
  /** The part that was looked at. */
  readonly split: 'train' | 'dev'
  /** Files that the rows came from. */
  readonly sources: readonly string[]
  /** The model whose tokenizer made the tokens. */
  readonly model: string
  /** `chat`: by a chat template; `plain`: source + target. */
  readonly template: 'chat' | 'plain'
  /** Longest source, in tokens. */
  readonly srcLength: number
  /** Longest row, in tokens. */
  readonly maxLength: number
  /** Rows (records). */
  readonly count: number
  /** With packing: packs of rows, which batches and steps of training count instead of rows; `null` without, and of dev rows. */
  readonly packs: number | null
  /** Tokens of all rows. */
  readonly tokens: number
  /** Tokens that the loss counts. */
  readonly supervised: number
  /** Rows that lost a part to `srcLength` or `maxLength`. */
  readonly truncated: number
  /** `source`: tokens that are read only; `target`: those that the loss counts; `total`: both. */
  readonly lengths: { readonly source: LengthHistogram; readonly target: LengthHistogram; readonly total: LengthHistogram }
  /** What packing saves. */
  readonly padding: PaddingFacts
  /** What is odd about the data without being wrong. */
  readonly notes: readonly DataNote[]
}

/** One token of a row. */
export interface DataToken {
  /** Its number in the vocabulary. */
  readonly id: number
  /** Its text. Of a character whose bytes are spread over several tokens, the last has the text and the others none. */
  readonly text: string
  /** The loss counts it; else it is read only. */
  readonly supervised: boolean
  /** A control token, such as the end of a turn. */
  readonly special: boolean
}

/** One row as training sees it. */
export interface ShownRow {
  /** Number of the row in the source, from 0. */
  readonly row: number
  /** All of them, in order. */
  readonly tokens: readonly DataToken[]
  /** Tokens that the loss counts. */
  readonly supervised: number
}

/** What an adapter folder says of itself. */
export interface AdapterFacts {
  /** The folder. */
  readonly path: string
  /** Name of the model that it adapts; `null` when the folder does not say. */
  readonly base: string | null
  /** Inner size r of a LoRA; `null`: a prefix has none. */
  readonly rank: number | null
  /** The adapter is scaled by alpha / rank, for rsLoRA by alpha / √rank; `null`: a prefix is not. */
  readonly alpha: number | null
  /** Dropout in training. */
  readonly dropout: number
  /** Variant of the formula, or `prefix`: keys and values before each row. */
  readonly kind: 'LoRA' | 'rsLoRA' | 'DoRA' | 'prefix'
  /** Places of a prefix in front of each row; `null`: it is none. */
  readonly tokens: number | null
  /** Modules that it changes, by the last part of their names; a prefix changes none. */
  readonly targets: readonly string[]
  /** Modules that it changes, in all layers. */
  readonly modules: number
  /** Layers that it changes. */
  readonly layers: number
  /** Values of the adapter. */
  readonly parameters: number
  /** Size of its weights file. */
  readonly bytes: number
  /** Optimizer steps that made it; `null`: unknown. */
  readonly steps: number | null
}

/** One checkpoint folder of a run. */
export interface CheckpointFacts {
  /** Absolute path. */
  readonly folder: string
  /** Optimizer steps done. */
  readonly step: number
  /** When it was written, ms since epoch; `null` for a broken one that does not say. */
  readonly time: number | null
  /** Size of all its files. */
  readonly bytes: number
  /** Whole, or lacking something that a resume needs. */
  readonly state: 'whole' | 'broken'
  /** What is broken. */
  readonly reason: string | null
  /** `model`: all weights; `adapter`: a LoRA adapter; `null` for a broken one that does not say. */
  readonly kind: 'model' | 'adapter' | null
  /** Loss of its step; `null`: unknown. */
  readonly loss: number | null
  /** Loss of the evaluation after its step; `null` without one. */
  readonly evalLoss: number | null
  /** `.resume()` would take this one. */
  readonly resumes: boolean
}
