/** The frozen plan of a run: plain JSON, the only thing that configures one (design: "a plan is data"). */

/** Number type that the model computes in. Trainable weights always keep fp32 masters. */
export type Precision = 'fp32' | 'bf16'

export interface DataPlan {
  /** Folder (or file) with `train.json`, `dev.json`, … of `{"src", "tgt"}` lines. `null`: nothing to train on. */
  readonly path: string | null
  /** Longest source, in tokens; longer ones lose their left end. */
  readonly srcLength: number
  /** Longest source + target, in tokens; longer targets lose their right end. */
  readonly maxLength: number
  /** `auto`: the tokenizer's chat template when it has one; `none`: plain source + target; else a Jinja template file. */
  readonly template: string
  /** System message put first in every chat, when a chat template is used. */
  readonly system: string | null
}

export interface LoraPlan {
  readonly rank: number
  /** Scale is alpha / rank. */
  readonly alpha: number
  readonly dropout: number
  /** `all-linear`, or names of modules as in the checkpoint (`q_proj`, `v_proj`, …). */
  readonly targets: 'all-linear' | readonly string[]
}

export interface OptimizerPlan {
  readonly learningRate: number
  readonly weightDecay: number
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  readonly maxGradNorm: number
}

export interface SchedulePlan {
  readonly type: 'linear' | 'cosine' | 'constant' | 'constant_with_warmup'
  readonly warmupSteps: number
  /** Used when warmupSteps is 0. */
  readonly warmupRatio: number
}

export interface BatchPlan {
  /** Rows (records) a step and rank, before accumulation. */
  readonly size: number
  readonly evalSize: number
  readonly accumulate: number
}

/** A cadence: never, each `every` optimizer steps, or at each epoch's end. */
export type Cadence = { readonly by: 'no' } | { readonly by: 'steps'; readonly every: number } | { readonly by: 'epoch' }

export interface SamplePlan {
  readonly cadence: Cadence
  /** Prompts answered on the cadence. Empty: the first rows of dev (else train). */
  readonly prompts: readonly string[]
  readonly generation: GenerationPlan
}

export interface GenerationPlan {
  readonly maxNewTokens: number
  readonly minNewTokens: number
  /** 0: greedy. */
  readonly temperature: number
  /** 0: off. */
  readonly topK: number
  /** 1: off. */
  readonly topP: number
  readonly seed: number
  /** Extra strings that end a generation. */
  readonly stop: readonly string[]
}

export interface SavePlan {
  readonly cadence: Cadence
  /** Checkpoints kept; `null`: all. */
  readonly keep: number | null
}

export interface MeshPlan {
  readonly dp: number
  readonly sharding: { readonly degree: number; readonly stage: 0 | 1 | 2 | 3 }
  readonly pp: number
  readonly tp: number
}

export interface Plan {
  readonly version: 1
  /** Model name: folder, file, `builtin:…` or hub repository. */
  readonly model: string
  readonly method: 'sft' | 'lora'
  readonly lora: LoraPlan | null
  readonly data: DataPlan
  readonly precision: Precision
  readonly device: 'auto' | 'cpu' | 'cuda'
  /** Which form of the blocks runs: `auto` picks fused where there is one. */
  readonly blocks: 'auto' | 'plain'
  readonly optimizer: OptimizerPlan
  readonly schedule: SchedulePlan
  readonly batch: BatchPlan
  /** Epochs to train; `steps` wins when it is not null. */
  readonly epochs: number
  readonly steps: number | null
  readonly evaluate: Cadence
  readonly sample: SamplePlan
  readonly save: SavePlan
  /** Each how many optimizer steps a `step` event carries to the charts; metrics.jsonl has every step. */
  readonly logEvery: number
  readonly train: boolean
  readonly evalAtEnd: boolean
  readonly seed: number
  readonly output: string
  readonly overwrite: boolean
  /** Path of a checkpoint, `true`: the newest in output, `null`: start afresh. */
  readonly resume: string | true | null
  readonly mesh: MeshPlan
  readonly threads: number | null
}
