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
}

/** Options of `.lora()`. */
export interface LoraOptions {
  /** Rank r of A and B. 1 to 65536. Default 8. */
  readonly rank?: number
  /** The adapter is scaled by alpha / rank. Above 0. Default 2 · rank. */
  readonly alpha?: number
  /** Dropout on the adapter's input, in training. From 0 to below 1. Default 0. */
  readonly dropout?: number
  /** `'all-linear'` (every Linear layer but the head) or module names as in the checkpoint: `['q_proj', 'v_proj']`. Default `'all-linear'`. */
  readonly targets?: 'all-linear' | readonly string[]
}

/** Options of `.schedule()`. */
export interface ScheduleOptions {
  /** Steps in which the learning rate rises from 0. At least 0; above 0 it wins over `warmupRatio`. Default 0. */
  readonly warmupSteps?: number
  /** The same as a share of all steps. From 0 to 1. Default 0. */
  readonly warmupRatio?: number
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

/** Options of `.log()`. */
export interface LogOptions {
  /** A `step` event reaches the front each so many steps; metrics.jsonl has every step. At least 1. Default 1. */
  readonly every: number
}

/** Options of `.sharding()`. */
export interface ShardingOptions {
  /** 0: nothing, 1: optimizer state, 2: + gradients, 3: + parameters. Only 0 as yet. Default 1. */
  readonly stage?: 0 | 1 | 2 | 3
  /** Ranks that share them. At least 1; only 1 as yet. Default 1. */
  readonly degree?: number
}
