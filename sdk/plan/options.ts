/** What the builder methods take. Ranges and defaults stand at each name; a wrong value is refused at the call. */

/** Options of `.data()`. */
export interface DataOptions {
  /** Longest source, in tokens; a longer one loses its left end. At least 1, below `maxLength`. Default 1024, or half of a shorter `maxLength`. */
  readonly srcLength?: number
  /** Longest source + target, in tokens; a longer target loses its right end. At least 2. Default 2048. */
  readonly maxLength?: number
  /** `'auto'`: the tokenizer's chat template when it has one. `'none'`: plain source + target. Else the path of a Jinja template. Default `'auto'`. */
  readonly template?: 'auto' | 'none' | (string & {})
  /** System message put first in every chat, when a chat template is used. Default none. */
  readonly system?: string | null
  /** InTokens: a row of a batch is a pack of rows, up to `maxLength` tokens together. Default `false`: a row is one record. */
  readonly packing?: boolean
  /** Streams rows while training, in bounded memory; needs `.steps()`. Default `false`: rows are prepared once, on disk. */
  readonly lazy?: boolean
  /** Rows among which a stream draws the next one; `lazy` alone uses it. At least 1. Default 10000. */
  readonly shuffleBuffer?: number
  /** Seed of the order of rows; `null`: that of `.seed()`. At least 0. Default `null`. */
  readonly seed?: number | null
  /** Leaves out the last batch of an epoch when it is not full. Default `false`. */
  readonly dropLast?: boolean
}

/** Options of `.resume()`. */
export interface ResumeOptions {
  /** `'continue'`: behind the last row that was trained on, of the same data. `'restart'`: the data from its beginning; it may have changed. Default `'continue'`. */
  readonly data?: 'continue' | 'restart'
}

/** Options of `.lora()`. */
export interface LoraOptions {
  /** Rank r of A and B. 1 to 65536. Default 8. */
  readonly rank?: number
  /** The adapter is scaled by alpha / rank, with `rsLora` by alpha / √rank. Above 0. Default 2 · rank, with `rsLora` 4. */
  readonly alpha?: number
  /** Dropout on the adapter's input, in training. From 0 to below 1. Default 0. */
  readonly dropout?: number
  /**
   * `'all-linear'` (every Linear layer but the head); names of modules as in the checkpoint, or globs: `['q_proj',
   * 'layers.0.*']`; or one regular expression that full names match, as PEFT reads it. Default `'all-linear'`.
   */
  readonly targets?: 'all-linear' | (string & {}) | readonly string[]
  /** Scales by alpha / √rank (rsLoRA, arXiv 2312.03732), so that higher ranks learn as fast. Default `false`. */
  readonly rsLora?: boolean
  /** Trains the length of each row of a weight too (DoRA, arXiv 2402.09353). Default `false`. */
  readonly dora?: boolean
  /** Begins as the principal part of each weight, which is taken out of the weight (PiSSA, arXiv 2404.02948), and learns faster. Default `false`: A is random, B zero. */
  readonly pissa?: boolean
  /** Learning rate of B over that of A (LoRA+, arXiv 2402.12354, which takes 16). Above 0. Default 1. */
  readonly plusRatio?: number
  /** Other ranks for some modules, by name or regular expression as in PEFT: `{ q_proj: 16 }`. From 1. Default `{}`. */
  readonly rankPattern?: Readonly<Record<string, number>>
  /** Other alphas, in the same way. Above 0. Default `{}`. */
  readonly alphaPattern?: Readonly<Record<string, number>>
  /** Folder of an adapter to go on from, PEFT's or PaddleNLP's: it brings rank, alpha, variant, patterns and modules. Default none. */
  readonly from?: string | null
}

/** Options of `.prefix()`. */
export interface PrefixOptions {
  /** Trained places before each row. 1 to 65536. Default 128. */
  readonly tokens?: number
  /** Trains the prefix through a small network: Linear, tanh, Linear. Default `false`. */
  readonly projection?: boolean
  /** Inner size of that network; `null`: the model's hidden size. At least 1. Default `null`. */
  readonly projectionSize?: number | null
  /** Folder of a prefix to go on from. Default none. */
  readonly from?: string | null
}

/** Options of `.quantize()`. */
export interface QuantizeOptions {
  /** Neighbouring values that share a scale, with nf4 and fp4. Even, at least 2. Default 64. */
  readonly blockSize?: number
  /** Keeps the scales of nf4 and fp4 in 8 bits. Default `false`. */
  readonly doubleQuant?: boolean
  /** Scales that then share a scale of their own. At least 1. Default 256. */
  readonly doubleQuantBlockSize?: number
}

/** Options of `.fp16()`. */
export interface Fp16Options {
  /** `'O1'`: matrix products in half, the rest in fp32. `'O2'`: weights in half, with fp32 masters. Default `'O1'`. */
  readonly level?: 'O1' | 'O2'
  /** First factor on the loss. Above 0. Default 32768. */
  readonly lossScale?: number
}

/** Options of `.best()`. */
export interface BestOptions {
  /** Figure of an evaluation that checkpoints are compared by; `null`: the loss. Default `null`. */
  readonly metric?: string | null
  /** `null`: as the metric's name says. Default `null`. */
  readonly greaterIsBetter?: boolean | null
  /** The run ends with the best checkpoint's weights. Default `true`. */
  readonly load?: boolean
  /** Ends the run after so many evaluations in a row without a better one; `null`: never. At least 1. Default `null`. */
  readonly patience?: number | null
  /** By how much a figure must improve. At least 0. Default 0. */
  readonly minDelta?: number
}

/** Options of `.schedule()`. */
export interface ScheduleOptions {
  /** Steps in which the learning rate rises from 0. At least 0; above 0 it wins over `warmupRatio`. Default 0. */
  readonly warmupSteps?: number
  /** The same as a share of all steps. From 0 to 1. Default 0. */
  readonly warmupRatio?: number
  /** Waves of `'cosine'`. Above 0. Default 0.5: down to 0 once. */
  readonly cycles?: number
  /** Learning rate that `'polynomial'` ends at. At least 0. Default 1e-7. */
  readonly endRate?: number
  /** Exponent of `'polynomial'`. Above 0. Default 1. */
  readonly power?: number
}

/** Options of `.adam()`: AdamW (Loshchilov and Hutter, arXiv 1711.05101). */
export interface AdamOptions {
  /** Decay of the first moment. From 0 to below 1. Default 0.9. */
  readonly beta1?: number
  /** Decay of the second moment. From 0 to below 1. Default 0.999. */
  readonly beta2?: number
  /** Added to the root of the second moment. Above 0. Default 1e-8. */
  readonly epsilon?: number
}

/** When something happens: each `every` optimizer steps, at each epoch's end, or never. */
export type CadenceOptions =
  | {
    /** Each so many optimizer steps. At least 1. No default: it is this or `each`. */
    readonly every: number
    readonly each?: undefined
  }
  | {
    /** `'epoch'`: at each epoch's end; `'never'`: not at all. No default: it is this or `every`. */
    readonly each: 'epoch' | 'never'
    readonly every?: undefined
  }

/** How tokens are chosen. */
export interface GenerationOptions {
  /** Most new tokens of an answer. At least 1. Default 128. */
  readonly maxNewTokens?: number
  /** An answer does not end before so many tokens. From 0 to `maxNewTokens`. Default 0. */
  readonly minNewTokens?: number
  /** Divides the logits; 0 takes the likeliest token (greedy). At least 0. Default 0. */
  readonly temperature?: number
  /** Only the k likeliest tokens are drawn from; 0: off. At least 0. Default 0. */
  readonly topK?: number
  /** Only the likeliest tokens that together reach this probability; 1: off. Above 0, at most 1. Default 1. */
  readonly topP?: number
  /** Seed of the draws. At least 0. Default 0. */
  readonly seed?: number
  /** Texts that end an answer, beside the model's own end token. Default none. */
  readonly stop?: readonly string[]
}

/** Options of `.evaluate()`. What is said of generation matters with `generate` alone. */
export type EvaluateOptions = CadenceOptions & GenerationOptions & {
  /** BLEU-4 and Rouge of answers that the model writes, instead of loss, perplexity and accuracy. Default `false`. */
  readonly generate?: boolean
  /** Writes those answers into `generated_output.json` of the output folder. Default `false`. */
  readonly saveOutput?: boolean
}

/** Options of `.sample()`. */
export type SampleOptions = CadenceOptions & GenerationOptions & {
  /** Prompts answered each time. Default: the first rows of dev, else of train, with their references. */
  readonly prompts?: readonly string[]
}

/** Options of `.save()`. */
export type SaveOptions = (CadenceOptions | { readonly every?: undefined; readonly each?: undefined }) & {
  /** Checkpoints kept, oldest deleted first; `null`: all. At least 1. Default 2. */
  readonly keep?: number | null
}

/** Options of `.upload()` and `upload()`. */
export interface UploadOptions {
  /** `'huggingface'`: Hugging Face's hub. `'aistudio'`: Baidu AI Studio. Default `'huggingface'`. */
  readonly to?: 'huggingface' | 'aistudio'
  /** A new repository is seen by its owner alone; one that is there stays as it is. Default `true`. */
  readonly private?: boolean
  /** Licence of the weights, as the hub names it, such as `'apache-2.0'`. Default: none at Hugging Face, `'Apache License 2.0'` at AI Studio. */
  readonly license?: string | null
}

/** Options of `.log()`. */
export interface LogOptions {
  /** A `step` event reaches the front each so many steps; metrics.jsonl has every step. At least 1. Default 1. */
  readonly every: number
}

/** Options of `.pp()`. */
export interface PipelineOptions {
  /** Ranges of layers that each stage holds, interleaved with those of the others (arXiv 2104.04473): less idle time for more messages. At least 1. Default 1: the plain schedule, 1F1B. */
  readonly virtual?: number
}

/** Options of `.sharding()`. */
export interface ShardingOptions {
  /** What the ranks share. 1: optimizer state, 2: gradients too, 3: parameters too; 0, with degree 1: nothing. Default 1. */
  readonly stage?: 0 | 1 | 2 | 3
  /** Ranks that share it, each on rows of its own. At least 1; 1 shares nothing. No default: it must be said. */
  readonly degree: number
}
