/** Types of the frozen plan of a run: plain JSON, the only thing that configures one. Defaults are those of a fresh builder. */

/** Number type that the model computes in. Trainable weights always keep fp32 masters. */
export type Precision = 'fp32' | 'bf16' | 'fp16'

/** What a run trains on and how rows become tokens. */
export interface DataPlan {
  /** Folder (or file) with `train.json`, `dev.json`, … of `{"src", "tgt"}` lines, or the built-in `AdvertiseGen`. `null` (default): nothing to train on, which is refused at the start. */
  readonly path: string | null
  /** Longest source, in tokens; longer ones lose their left end. Default: half of maxLength, at most 1024. */
  readonly srcLength: number
  /** Longest source + target, in tokens; longer targets lose their right end. Above srcLength. Default 2048. */
  readonly maxLength: number
  /** `auto` (default): the tokenizer's chat template when it has one; `none`: plain source + target; else a Jinja template file. */
  readonly template: string
  /** System message put first in every chat, when a chat template is used. Default: `null`, none. */
  readonly system: string | null
  /** InTokens: a row of a batch is a pack of rows, up to maxLength tokens together. Default `false`: a row is one record. */
  readonly packing: boolean
  /** Reads rows as a stream while training, with bounded memory; then `steps` says how long. Default `false`: prepared once, on disk. */
  readonly lazy: boolean
  /** Rows among which a stream draws the next one. Used with `lazy` alone. Default 10000. */
  readonly shuffleBuffer: number
  /** Seed of the order of rows; `null` (default): the run's. */
  readonly seed: number | null
  /** Leaves out the last batch of an epoch when it is not full. Default `false`: it weighs its own tokens. */
  readonly dropLast: boolean
}

/** Low-rank adapters on frozen weights (arXiv 2106.09685). */
export interface LoraPlan {
  /** Inner size of the adapter: A is [rank, in], B [out, rank]. */
  readonly rank: number
  /** The adapter's share is scaled by alpha / rank, with `rsLora` by alpha / √rank. */
  readonly alpha: number
  /** Share of the adapter's inputs that is dropped in training, from 0 to below 1. */
  readonly dropout: number
  /**
   * `all-linear`; or names of modules as in the checkpoint (`q_proj`, `v_proj`, …) or globs (`layers.0.*_proj`), which the
   * end of a full name meets; or one regular expression that the full name matches, as PEFT reads it.
   */
  readonly targets: string | readonly string[]
  /** Scales by alpha / √rank (rsLoRA, arXiv 2312.03732). Default `false`. */
  readonly rsLora: boolean
  /** Trains the length of each row of a weight too (DoRA, arXiv 2402.09353). Default `false`. */
  readonly dora: boolean
  /** Begins as the principal part of each weight, which is taken out of the weight (PiSSA, arXiv 2404.02948). Default `false`: A is random, B zero. */
  readonly pissa: boolean
  /** Learning rate of B over that of A (LoRA+, arXiv 2402.12354). Default 1. */
  readonly plusRatio: number
  /** Other ranks by the end of a module's name, or a regular expression for it, as PEFT reads them. Default `{}`. */
  readonly rankPattern: Readonly<Record<string, number>>
  /** Other alphas, in the same way. Default `{}`. */
  readonly alphaPattern: Readonly<Record<string, number>>
  /** Folder of an adapter to go on from, with its own rank, alpha, variant and modules. Default `null`: a new one. */
  readonly from: string | null
}

/** Trained keys and values before each row (prefix tuning, arXiv 2101.00190) of a model whose own weights are frozen. */
export interface PrefixPlan {
  /** Places before the first token. Default 128. */
  readonly tokens: number
  /** Trains the prefix through a small network, which is left out of the result. Default `false`. */
  readonly projection: boolean
  /** Inner size of that network; `null` (default): the model's hidden size. */
  readonly projectionSize: number | null
  /** Folder of a prefix to go on from. Default `null`: a new one. */
  readonly from: string | null
}

/** Frozen weights in few bits (QLoRA, arXiv 2305.14314): the matrices of the layers, made whole as each layer runs. */
export interface QuantizePlan {
  /** `nf4` and `fp4`: 4 bits and a scale a block; `weight_only_int8` and `weight_only_int4`: whole numbers and a scale a row. */
  readonly algorithm: 'nf4' | 'fp4' | 'weight_only_int8' | 'weight_only_int4'
  /** Neighbouring values that share a scale, with nf4 and fp4. An even number. Default 64. */
  readonly blockSize: number
  /** The scales of nf4 and fp4 are kept in 8 bits. Default `false`. */
  readonly doubleQuant: boolean
  /** Scales that then share a scale of their own. Default 256. */
  readonly doubleQuantBlockSize: number
}

/** AdamW on fp32 masters. */
export interface OptimizerPlan {
  /** Highest learning rate, which the schedule scales. Default 3e-5, with LoRA 3e-4, with a prefix 3e-2. */
  readonly learningRate: number
  /** Decoupled decay of matrices, never of biases and norms. Default 0. */
  readonly weightDecay: number
  /** Decay of the mean of gradients. Default 0.9. */
  readonly beta1: number
  /** Decay of the mean of squared gradients. Default 0.999. */
  readonly beta2: number
  /** Added to the root in the denominator. Default 1e-8. */
  readonly epsilon: number
  /** Gradients of a longer 2-norm, over all weights together, are scaled down to it; 0: no clipping. Default 1. */
  readonly maxGradNorm: number
}

/** How the learning rate moves over the optimizer steps of a run. */
export interface SchedulePlan {
  /** What follows the warm-up: a line or cosine down to 0, a power down to endRate, or no change. `constant` has no warm-up. Default `linear`. */
  readonly type: 'linear' | 'cosine' | 'constant' | 'constant_with_warmup' | 'polynomial'
  /** Optimizer steps in which the rate rises from 0 in a line. Default 0. */
  readonly warmupSteps: number
  /** Warm-up as a share of all steps, from 0 to 1, rounded up to whole steps; used when warmupSteps is 0. Default 0. */
  readonly warmupRatio: number
  /** Waves of a cosine from the end of the warm-up to the last step. Default 0.5: down once. */
  readonly cycles: number
  /** Where a polynomial ends, below the learning rate. Default 1e-7. */
  readonly endRate: number
  /** Exponent of a polynomial; 1 is a line. Default 1. */
  readonly power: number
}

/** How many rows go through the model at once. */
export interface BatchPlan {
  /** Rows (records) a step and rank, before accumulation. Default 8. */
  readonly size: number
  /** Rows at once in an evaluation; changes nothing but memory and speed. Default 8. */
  readonly evalSize: number
  /** Batches whose gradients one optimizer step adds up, each token counting the same. Default 1. */
  readonly accumulate: number
  /**
   * Most tokens of a forward and backward pass on a rank: the `size · accumulate` rows of a step are cut by tokens instead of rows, and a
   * longer row stands alone. The step itself stays the same; changes nothing but memory and speed. `null` (default): `size` rows, which on
   * CPUs are cut into passes of at most 1,024 tokens.
   */
  readonly tokens: number | null
}

/** A program that reads a run's figures. */
export type ReportKind = 'tensorboard' | 'mlflow'

/** How often something happens: never, each so many optimizer steps, or at each epoch's end. */
export type Cadence =
  | { readonly by: 'no' }
  | {
    readonly by: 'steps'
    /** Optimizer steps from one time to the next. At least 1. */
    readonly every: number
  }
  | { readonly by: 'epoch' }

/** Answers of the growing model, shown during the run. */
export interface SamplePlan {
  /** Default: never. */
  readonly cadence: Cadence
  /** Prompts answered on the cadence. Empty: the first rows of dev (else train). */
  readonly prompts: readonly string[]
  /** How they are answered. */
  readonly generation: GenerationPlan
}

/** How a prompt is answered. */
export interface GenerationPlan {
  /** Most new tokens of an answer. Default 128. */
  readonly maxNewTokens: number
  /** No stop token before so many new tokens; at most maxNewTokens. Default 0. */
  readonly minNewTokens: number
  /** What logits are divided by before a token is drawn; 0 takes the likeliest. Default 0. */
  readonly temperature: number
  /** Draw from so many likeliest tokens; 0: from all. Default 0. */
  readonly topK: number
  /** Draw from the likeliest tokens that reach this probability together, above 0; 1: from all. Default 1. */
  readonly topP: number
  /** Seed of the draws; the same seed gives the same answer. Default 0. */
  readonly seed: number
  /** Strings that end an answer, beside the model's own end tokens, and are not part of it. Default: none. */
  readonly stop: readonly string[]
}

/** What an evaluation measures. */
export interface EvaluationPlan {
  /** `false` (default): loss, perplexity and accuracy by teacher forcing; `true`: BLEU-4 and Rouge of answers that the model writes. */
  readonly generate: boolean
  /** Writes those answers into `generated_output.json`. Default `false`. */
  readonly saveOutput: boolean
  /** How they are written. Default: greedy, up to maxLength − srcLength new tokens. */
  readonly generation: GenerationPlan
}

/** Which checkpoint is the best, and what follows from it. */
export interface BestPlan {
  /** Figure of an evaluation that checkpoints are compared by; `null` (default): the loss. */
  readonly metric: string | null
  /** `null` (default): as the metric's name says; a loss or perplexity is better when it is lower. */
  readonly greaterIsBetter: boolean | null
  /** The run ends with the best checkpoint's weights. Default `false`. */
  readonly load: boolean
  /** Ends the run after so many evaluations in a row without a better one; `null` (default): never. */
  readonly patience: number | null
  /** By how much a figure must improve to count as better. Default 0. */
  readonly minDelta: number
}

/** Where the trained weights are uploaded when a run is done. The access token is no part of a plan. */
export interface UploadPlan {
  /** Hugging Face's hub or Baidu AI Studio. Default `huggingface`. */
  readonly to: 'huggingface' | 'aistudio'
  /** Repository, as `OWNER/NAME`; made where there is none. */
  readonly repository: string
  /** A new repository is seen by its owner alone. Default `true`. */
  readonly private: boolean
  /** Licence of the weights, as the hub names it; `null`: none, at Hugging Face alone. Default `null`, at AI Studio `Apache License 2.0`. */
  readonly license: string | null
}

/** How fp16 computes; used with precision `fp16` alone. */
export interface Fp16Plan {
  /** `O1` (default): matrix products in half, the rest in fp32. `O2`: weights in half, with fp32 masters in the optimizer. */
  readonly level: 'O1' | 'O2'
  /** First factor on the loss, which then moves as gradients allow. Default 32768. */
  readonly lossScale: number
}

/** Checkpoints on the way; the final weights are written in any case. */
export interface SavePlan {
  /** Default: at each epoch's end. */
  readonly cadence: Cadence
  /** Newest checkpoints kept; `null`: all. Default 2. */
  readonly keep: number | null
}

/**
 * Ranks (worker processes) by kind of parallelism: as many as the product of the four degrees. Each degree is at least 1,
 * and 1 (the default) leaves its axis out.
 */
export interface MeshPlan {
  /** Replicas of the model, each on rows of its own. */
  readonly dp: number
  /** Ranks that share optimizer state (stage 1), gradients too (2), weights too (3), each on rows of its own. Stage 0 with degree 1: nothing is shared. */
  readonly sharding: { readonly degree: number; readonly stage: 0 | 1 | 2 | 3 }
  /** Pipeline stages, each with its range of layers. */
  readonly pp: number
  /** Ranges of layers that each stage holds, interleaved with those of the others (arXiv 2104.04473); 1 (default) is the plain schedule, 1F1B. */
  readonly virtual: number
  /** Ranks that divide each matrix between them. */
  readonly tp: number
  /** Tensor-parallel ranks also divide what stands between their matrices, by tokens (arXiv 2205.05198). Default `false`. */
  readonly sequenceParallel: boolean
  /** Numbers of the GPUs, one a rank, as the machine counts them; `null` (default): the first ones that the run sees. */
  readonly devices: readonly number[] | null
}

/**
 * Everything that decides a run, checked and frozen. Builders and argument files make one; a plan of another origin is
 * checked when it is used.
 */
export interface Plan {
  /** Version of this layout. */
  readonly version: 1
  /** Model name: folder, file, `builtin:…`, hub repository or `aistudio:OWNER/MODEL`. */
  readonly model: string
  /** `sft` trains all weights, `lora` an adapter on frozen ones, `prefix` keys and values before each row. Default `sft`. */
  readonly method: 'sft' | 'lora' | 'prefix'
  /** Set exactly when method is `lora`. */
  readonly lora: LoraPlan | null
  /** Set exactly when method is `prefix`. */
  readonly prefix: PrefixPlan | null
  /** Frozen weights in few bits, while an adapter or a prefix trains; `null` (default): as they compute. */
  readonly quantize: QuantizePlan | null
  /** Noise on input embeddings in training, U(−m, m) with m = this / √(tokens of the row · hidden size) (NEFTune, arXiv 2310.05914); `null` (default): none. */
  readonly neftune: number | null
  /** What it trains on. */
  readonly data: DataPlan
  /** Default `fp32`. */
  readonly precision: Precision
  /** Used with precision `fp16`. */
  readonly fp16: Fp16Plan
  /** What is computed again in the backward to save memory: nothing unless a step would not fit (`none`, the default), each layer, its attention half, or attention alone. */
  readonly recompute: 'none' | 'full' | 'full_attn' | 'core_attn'
  /** `auto` (default): the first GPU where there is one. `cuda` without a GPU is an EnvironmentError `device.missing`. */
  readonly device: 'auto' | 'cpu' | 'cuda'
  /** Which form of the blocks runs: `auto` (default) picks fused where there is one. */
  readonly blocks: 'auto' | 'plain'
  /** AdamW's settings. */
  readonly optimizer: OptimizerPlan
  /** Course of the learning rate. */
  readonly schedule: SchedulePlan
  /** Rows at once. */
  readonly batch: BatchPlan
  /** Epochs to train, fractions too; `steps` wins when it is not null. Default 3. */
  readonly epochs: number
  /** Optimizer steps to train; `null` (default): as `epochs` says. */
  readonly steps: number | null
  /** When the dev rows are evaluated. Default: never. */
  readonly evaluate: Cadence
  /** What an evaluation measures. */
  readonly evaluation: EvaluationPlan
  /** Which checkpoint is the best. */
  readonly best: BestPlan
  /** Answers on the way. */
  readonly sample: SamplePlan
  /** Checkpoints on the way. */
  readonly save: SavePlan
  /** Where the final weights are uploaded; `null` (default): nowhere. */
  readonly upload: UploadPlan | null
  /** Each how many optimizer steps a `step` event carries to the charts; metrics.jsonl has every step. Default 1. */
  readonly logEvery: number
  /** `false`: evaluate only. Default `true`. */
  readonly train: boolean
  /** Evaluate once more after the last step. Default `false`. */
  readonly evalAtEnd: boolean
  /** Evaluate the final weights on test.json, as `evaluation` says. Default `false`. */
  readonly predict: boolean
  /** Decides the order of rows, dropout and a new adapter's values. Default 42. */
  readonly seed: number
  /** Output folder. Default `output/MODEL-METHOD`, in the working folder. */
  readonly output: string
  /** Take an output folder that holds another run's results; else that is a PlanError. Default `false`. */
  readonly overwrite: boolean
  /** Path of a checkpoint, `true`: the newest in output, `null` (default): start afresh. */
  readonly resume: string | true | null
  /** What a resume reads: `continue` (default) goes on behind the last row that was trained on, `restart` begins the data again, which may have changed. */
  readonly resumeData: 'continue' | 'restart'
  /** Ranks by kind of parallelism. */
  readonly mesh: MeshPlan
  /** Sums in an order that does not depend on the number of data-parallel ranks: bit for bit the same loss on 1, 2 or 4 of them. Default `false`. */
  readonly deterministic: boolean
  /**
   * On a GPU: records forward and backward of micro-batches whose padded shapes recur as CUDA graphs, and replays them. For a
   * rank that is alone, in fp32 or bf16; elsewhere, and for batches that cannot be recorded, steps run as they do without.
   * Default `false`.
   */
  readonly cudaGraphs: boolean
  /** How often a run of which a rank died goes on by itself from its last checkpoint. Default 0. */
  readonly restart: number
  /** CPU threads; `null` (default): all cores. */
  readonly threads: number | null
  /** Bars on a terminal while it runs. Default `true`. */
  readonly progress: boolean
  /** Programs that the figures are written for, beside metrics.jsonl: `tensorboard` (event files in `OUTPUT/tensorboard`), `mlflow` (a file store in `OUTPUT/mlruns`). Default: none. */
  readonly report: readonly ReportKind[]
}
