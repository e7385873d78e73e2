import { defaultAlpha, defaultGeneration, defaultLora, defaultPlan, defaultPrefix, defaultQuantize, settle, type Settled } from './defaults'
import { deepFreeze } from './freeze'
import type {
  AdamOptions, BestOptions, CadenceOptions, DataOptions, EvaluateOptions, Fp16Options, GenerationOptions, LogOptions, LoraOptions, PrefixOptions, ResumeOptions, SampleOptions, SaveOptions,
  PipelineOptions, QuantizeOptions, ScheduleOptions, ShardingOptions, UploadOptions,
} from './options'
import type { Cadence, MeshPlan, Plan, QuantizePlan, ReportKind, SchedulePlan } from './plan'
import { conflict, refusal } from './refuse'
import { readOptions, readValue } from './read'
import type { RuleName } from './rules'
import { uploadPlan } from './upload'
import { checkConsistent, isRecord } from './validate'

const cadenceNames = { every: 'cadence.every', each: 'cadence.each' } as const
const generationNames = {
  maxNewTokens: 'generation.maxNewTokens', minNewTokens: 'generation.minNewTokens', temperature: 'generation.temperature',
  topK: 'generation.topK', topP: 'generation.topP', seed: 'generation.seed', stop: 'generation.stop',
} as const satisfies Record<keyof GenerationOptions, RuleName>

const loraNames = {
  rank: 'lora.rank', alpha: 'lora.alpha', dropout: 'lora.dropout', targets: 'lora.targets', rsLora: 'lora.rsLora', dora: 'lora.dora', pissa: 'lora.pissa', plusRatio: 'lora.plusRatio',
  rankPattern: 'lora.rankPattern', alphaPattern: 'lora.alphaPattern', from: 'lora.from',
} as const satisfies Record<keyof LoraOptions, RuleName>
/** What an adapter to go on from brings itself. */
const ofTheAdapter = ['rank', 'alpha', 'targets', 'rsLora', 'dora', 'pissa', 'rankPattern', 'alphaPattern'] as const

/** What a builder hands to the next one. */
export interface BuilderState { readonly plan: Plan; readonly given: ReadonlySet<Settled> }

/**
 * Describes a run, one call at a time. Every method returns a new frozen builder and leaves this one as it was, so that a
 * shared start can branch: `const base = sft(model).data(path)`, `base.lora()`, `base.learningRate(1e-5)`. The last call
 * of a method wins. Nothing happens before `.start()`. A wrong value throws a `PlanError` at the call.
 */
export abstract class PlanBuilder {
  /** The frozen plan so far: plain JSON, the only thing that configures a run. */
  readonly plan: Plan
  readonly #given: ReadonlySet<Settled>

  protected constructor(from: string | BuilderState) {
    const { plan, given } = !isState(from) ? { plan: defaultPlan(readValue('sft', from, 'model')), given: new Set<Settled>() } : from
    const settled = settle(plan, given)
    checkConsistent(settled)
    this.plan = deepFreeze(settled)
    this.#given = given
    Object.freeze(this)
  }

  /** The next builder: this plan with some of its fields replaced. */
  protected abstract next(from: BuilderState): this

  #with(change: Partial<Plan>, ...given: Settled[]): this {
    return this.next({ plan: { ...this.plan, ...change }, given: new Set([...this.#given, ...given]) })
  }

  /**
   * What to train on: a folder with `train.json` (else `train/*.json`) and perhaps `dev.json` (else `dev/*.json`), or one
   * file, of `{"src", "tgt"}` objects, one a line; or `'AdvertiseGen'`, which is fetched. Options that a call leaves out go back to their defaults.
   */
  data(path: string, options: DataOptions = {}): this {
    const read = readOptions('data', options, {
      srcLength: 'data.srcLength', maxLength: 'data.maxLength', template: 'data.template', system: 'data.system',
      packing: 'data.packing', lazy: 'data.lazy', shuffleBuffer: 'data.shuffleBuffer', seed: 'data.seed', dropLast: 'data.dropLast',
    })
    const given = new Set(this.#given)
    if (read.srcLength === undefined) given.delete('srcLength')
    else given.add('srcLength')
    const data = { ...defaultPlan('').data, ...read, path: readValue('data', path, 'call.data') }
    return this.next({ plan: { ...this.plan, data }, given })
  }

  /**
   * Trains a low-rank adapter (LoRA, arXiv 2106.09685) instead of all weights: y = Wx + (alpha / rank) · B(A(dropout(x))).
   * `.lora()` alone: rank 8, alpha 16, no dropout, every Linear layer but the head.
   */
  lora(options: LoraOptions = {}): this {
    const read = readOptions('lora', options, loraNames)
    const clash = read.from == null ? undefined : ofTheAdapter.find((name) => read[name] !== undefined)
    if (clash !== undefined) throw conflict(['from', clash], `.lora() got ${clash} beside from, and the adapter at ${read.from} has its own`, `.lora({ from: '${read.from}' })`)
    const { rank = defaultLora.rank, rsLora = false } = read
    const lora = deepFreeze(structuredClone({ ...defaultLora, alpha: defaultAlpha(rank, rsLora), ...read }))
    return this.#with({ method: 'lora', lora, prefix: null })
  }

  /**
   * Trains keys and values that stand before each row in every layer (prefix tuning, arXiv 2101.00190) instead of
   * weights. `.prefix()` alone: 128 places, without a projection.
   */
  prefix(options: PrefixOptions = {}): this {
    const read = readOptions('prefix', options, { tokens: 'prefix.tokens', projection: 'prefix.projection', projectionSize: 'prefix.projectionSize', from: 'prefix.from' })
    return this.#with({ method: 'prefix', prefix: { ...defaultPrefix, ...read }, lora: null })
  }

  /**
   * Keeps the frozen matrices of the layers in few bits while an adapter or a prefix trains (QLoRA, arXiv 2305.14314): a quarter
   * of bf16's memory, for the time that it takes to make each layer whole as it runs. `null`: as they compute.
   */
  quantize(algorithm: QuantizePlan['algorithm'] | null = 'nf4', options: QuantizeOptions = {}): this {
    if (algorithm === null) return this.#with({ quantize: null })
    const read = readOptions('quantize', options, { blockSize: 'quantize.blockSize', doubleQuant: 'quantize.doubleQuant', doubleQuantBlockSize: 'quantize.doubleQuantBlockSize' })
    return this.#with({ quantize: { ...defaultQuantize, ...read, algorithm: readValue('quantize', algorithm, 'quantize.algorithm') } })
  }

  /** Noise on input embeddings in training (NEFTune, arXiv 2310.05914), U(−m, m) with m = alpha / √(tokens · hidden size). At least 0; `null`: none. `.neftune()` alone: 5. */
  neftune(alpha: number | null = 5): this { return this.#with({ neftune: readValue('neftune', alpha, 'neftune') }) }

  /** Computes in bfloat16; trainable weights keep fp32 masters. Default: fp32. */
  bf16(): this {
    refuseArguments('bf16', arguments)
    return this.#with({ precision: 'bf16' })
  }

  /** Computes in fp32 (the default). */
  fp32(): this {
    refuseArguments('fp32', arguments)
    return this.#with({ precision: 'fp32' })
  }

  /** Computes in half precision, with a loss scale that follows the gradients; trainable weights keep fp32 masters. */
  fp16(options: Fp16Options = {}): this {
    const read = readOptions('fp16', options, { level: 'fp16.level', lossScale: 'fp16.lossScale' })
    return this.#with({ precision: 'fp16', fp16: { level: 'O1', lossScale: 32768, ...read } })
  }

  /** Saves memory by computing again in the backward: each layer (`'full'`), its attention half (`'full_attn'`), attention alone (`'core_attn'`), or only what would not fit (`'none'`). Default `'none'`; `.recompute()` alone: `'full'`. */
  recompute(what: Plan['recompute'] = 'full'): this { return this.#with({ recompute: readValue('recompute', what, 'recompute') }) }

  /** Highest learning rate of the schedule. Above 0. Default 3e-5 for all weights, 3e-4 with LoRA, 3e-2 with a prefix. */
  learningRate(value: number): this {
    return this.#with({ optimizer: { ...this.plan.optimizer, learningRate: readValue('learningRate', value, 'optimizer.learningRate') } }, 'learningRate')
  }

  /** AdamW's decoupled weight decay; norms and biases are left out. At least 0. Default 0. */
  weightDecay(value: number): this {
    return this.#with({ optimizer: { ...this.plan.optimizer, weightDecay: readValue('weightDecay', value, 'optimizer.weightDecay') } })
  }

  /** Gradients are scaled down to this global norm. At least 0; 0 turns clipping off. Default 1. */
  maxGradNorm(value: number): this {
    return this.#with({ optimizer: { ...this.plan.optimizer, maxGradNorm: readValue('maxGradNorm', value, 'optimizer.maxGradNorm') } })
  }

  /** Constants of AdamW. Defaults: beta1 0.9, beta2 0.999, epsilon 1e-8. */
  adam(options: AdamOptions): this {
    const read = readOptions('adam', options, { beta1: 'optimizer.beta1', beta2: 'optimizer.beta2', epsilon: 'optimizer.epsilon' })
    return this.#with({ optimizer: { ...this.plan.optimizer, ...read } })
  }

  /** Course of the learning rate after its warm-up. `'linear'` and `'cosine'` fall to 0, `'polynomial'` to `endRate`; the constant ones stay, and only `'constant_with_warmup'` of these rises first. Default `'linear'`. */
  schedule(type: SchedulePlan['type'], options: ScheduleOptions = {}): this {
    const read = readOptions('schedule', options, {
      warmupSteps: 'schedule.warmupSteps', warmupRatio: 'schedule.warmupRatio', cycles: 'schedule.cycles', endRate: 'schedule.endRate', power: 'schedule.power',
    })
    // Warm-up steps win over a ratio, so the last one that was said must be the only one.
    const { warmupSteps = 0, warmupRatio = 0, ...shape } = read
    const warmup = read.warmupSteps === undefined && read.warmupRatio === undefined ? {} : { warmupSteps, warmupRatio }
    return this.#with({ schedule: { ...this.plan.schedule, cycles: 0.5, endRate: 1e-7, power: 1, ...shape, ...warmup, type: readValue('schedule', type, 'schedule.type') } })
  }

  /** Steps in which the learning rate rises from 0. At least 0. Default 0. */
  warmup(steps: number): this {
    return this.#with({ schedule: { ...this.plan.schedule, warmupSteps: readValue('warmup', steps, 'schedule.warmupSteps'), warmupRatio: 0 } })
  }

  /** Passes over the data; a fraction stops within one. Above 0. Default 3. Takes back an earlier `.steps()`. */
  epochs(count: number): this { return this.#with({ epochs: readValue('epochs', count, 'epochs'), steps: null }) }

  /** Optimizer steps to train, however many epochs that is. At least 1. Default: as many as `.epochs()` needs. */
  steps(count: number): this { return this.#with({ steps: readValue('steps', count, 'call.steps') }) }

  /** Rows of a forward and backward pass, in training; `evalRows` in evaluation (default: the same). At least 1. Default 8. */
  batch(rows: number, evalRows: number = rows): this {
    return this.#with({ batch: { ...this.plan.batch, size: readValue('batch', rows, 'batch.size'), evalSize: readValue('batch', evalRows, 'batch.evalSize') } })
  }

  /** Batches whose gradients make one step, each supervised token weighing the same. At least 1. Default 1. */
  accumulate(batches: number): this { return this.#with({ batch: { ...this.plan.batch, accumulate: readValue('accumulate', batches, 'batch.accumulate') } }) }

  /**
   * Most tokens of a forward and backward pass: the rows of a step, as many as `.batch()` and `.accumulate()` say, are cut by tokens
   * instead of rows, and a longer row stands alone. Steps and their gradients stay the same; memory and speed change. At least 1; `null` (default): cut by rows,
   * and on CPUs each batch into passes of at most 1,024 tokens.
   */
  tokenBudget(tokens: number | null): this { return this.#with({ batch: { ...this.plan.batch, tokens: readValue('tokenBudget', tokens, 'batch.tokens') } }) }

  /**
   * Loss, perplexity and token accuracy on the dev rows, on this cadence and at the end; with `generate` BLEU-4 and Rouge
   * of the model's own answers instead. Default: never.
   */
  evaluate(options: EvaluateOptions): this {
    const { every, each, generate = false, saveOutput = false, ...generation } = readOptions<{ -readonly [K in keyof EvaluateOptions]: EvaluateOptions[K] }>(
      'evaluate', options, { ...cadenceNames, generate: 'evaluation.generate', saveOutput: 'evaluation.saveOutput', ...generationNames })
    const evaluate = readCadence('evaluate', { every, each } as CadenceOptions)
    const given = new Set(this.#given)
    if (generation.maxNewTokens === undefined) given.delete('evaluationTokens')
    else given.add('evaluationTokens')
    const evaluation = { generate, saveOutput, generation: { ...defaultGeneration, ...generation } }
    return this.next({ plan: { ...this.plan, evaluate, evalAtEnd: evaluate.by !== 'no', evaluation }, given })
  }

  /** Evaluates the final weights on the rows of test.json, as `.evaluate()` does on dev's. Default: not. */
  predict(yes: boolean = true): this { return this.#with({ predict: readValue('predict', yes, 'predict') }) }

  /** Ends with the weights of the best checkpoint, or early; needs evaluations where it saves. Default: the last weights count, and the run goes to its end. */
  best(options: BestOptions = {}): this {
    const read = readOptions('best', options, {
      metric: 'best.metric', greaterIsBetter: 'best.greaterIsBetter', load: 'best.load', patience: 'best.patience', minDelta: 'best.minDelta',
    })
    return this.#with({ best: { metric: null, greaterIsBetter: null, load: true, patience: null, minDelta: 0, ...read } })
  }

  /** Answers to prompts while training, to read beside the loss. Default: never. */
  sample(options: SampleOptions): this {
    const { every, each, prompts = [], ...generation } = readOptions<{ -readonly [K in keyof SampleOptions]: SampleOptions[K] }>(
      'sample', options, { ...cadenceNames, prompts: 'sample.prompts', ...generationNames })
    const cadence = readCadence('sample', { every, each } as CadenceOptions)
    return this.#with({ sample: { cadence, prompts: [...prompts], generation: { ...defaultGeneration, ...generation } } })
  }

  /** Checkpoints to resume from, in `<output>/checkpoint-<step>`. Default: at each epoch's end, 2 kept. The final weights are written in any case. */
  save(options: SaveOptions): this {
    const { keep = this.plan.save.keep, ...when } = readOptions<{ every?: number; each?: 'epoch' | 'never'; keep?: number | null }>(
      'save', options, { ...cadenceNames, keep: 'save.keep' })
    const named = when.every !== undefined || when.each !== undefined
    return this.#with({ save: { keep, cadence: named ? readCadence('save', when as CadenceOptions) : this.plan.save.cadence } })
  }

  /** Folder for checkpoints, metrics.jsonl and the final weights. Default `output/<model>-<method>`. */
  output(folder: string): this { return this.#with({ output: readValue('output', folder, 'output') }, 'output') }

  /**
   * Uploads the final weights to a repository (`OWNER/NAME`) when the run is done: Hugging Face's hub, or Baidu AI Studio.
   * `null` takes it back. The access token comes from the environment (HF_TOKEN, AISTUDIO_ACCESS_TOKEN) or from
   * `.start({ tokens })`, and is no part of the plan. An upload that fails is a warning: `upload()` repeats it. Default: none.
   */
  upload(repository: string | null, options: UploadOptions = {}): this { return this.#with({ upload: repository === null ? null : uploadPlan('upload', repository, options) }) }

  /** Starts afresh in an output folder that holds an earlier run, which is lost. Default: such a folder is refused. */
  overwrite(yes: boolean = true): this { return this.#with({ overwrite: readValue('overwrite', yes, 'overwrite') }) }

  /** Goes on from a checkpoint: the newest in the output folder, or the one at `path`; `null` starts afresh (the default). */
  resume(path: string | true | null = true, options: ResumeOptions = {}): this {
    const { data = 'continue' } = readOptions('resume', options, { data: 'resumeData' })
    return this.#with({ resume: readValue('resume', path, 'resume'), resumeData: data })
  }

  /** Seed of data order, adapter initialisation and dropout. At least 0. Default 42. */
  seed(value: number): this { return this.#with({ seed: readValue('seed', value, 'seed') }) }

  /** `'auto'` takes a GPU when there is one. Default `'auto'`. */
  device(name: Plan['device']): this { return this.#with({ device: readValue('device', name, 'device') }) }

  /** CPU threads of the worker; `null` takes all cores. 1 to 4096. Default `null`. */
  threads(count: number | null): this { return this.#with({ threads: readValue('threads', count, 'threads') }) }

  /** `false`: no bars on a terminal, a line for each shown step. Default `true`. */
  progress(yes: boolean): this { return this.#with({ progress: readValue('progress', yes, 'progress') }) }

  /** Writes the figures for other programs too, into the output folder: `'tensorboard'` (event files), `'mlflow'` (a file store). Default: none. */
  report(...kinds: readonly ReportKind[]): this { return this.#with({ report: readValue('report', [...kinds], 'report') }) }

  /** `'plain'`: blocks made of ATen operators, the reference. `'auto'`: fused ones where they exist. Default `'auto'`. */
  blocks(form: Plan['blocks']): this { return this.#with({ blocks: readValue('blocks', form, 'blocks') }) }

  /** How often a step is shown. Default: every step. */
  log(options: LogOptions): this {
    const { every } = readOptions('log', options, { every: 'logEvery' })
    return this.#with({ logEvery: readValue('log', every, 'logEvery') })
  }

  /** Tensor-parallel ranks: each matrix is cut between them, by heads and by width. At least 1. Default 1. */
  tp(degree: number): this { return this.#mesh({ tp: readValue('tp', degree, 'mesh.tp') }) }

  /**
   * Pipeline stages: each holds a range of layers, and batches of the accumulation pass through them one behind the other
   * (1F1B, arXiv 2104.04473). At least 1, at most as many as layers. Default 1.
   */
  pp(degree: number, options: PipelineOptions = {}): this {
    const { virtual = 1 } = readOptions('pp', options, { virtual: 'mesh.virtual' })
    const pp = readValue('pp', degree, 'mesh.pp')
    // One stage has nobody to interleave with.
    return this.#mesh({ pp, virtual: pp === 1 ? 1 : virtual })
  }

  /** Data-parallel ranks: replicas that hold all of the model, each on rows of its own. At least 1. Default 1. */
  dp(degree: number): this { return this.#mesh({ dp: readValue('dp', degree, 'mesh.dp') }) }

  /**
   * Ranks on rows of their own that share optimizer state (stage 1), gradients too (2), parameters too (3) instead of each
   * holding all of it (ZeRO, arXiv 1910.02054). `.sharding({ degree: 4 })` alone: stage 1.
   */
  sharding(options: ShardingOptions): this {
    const { stage = 1, degree } = readOptions<{ stage?: 0 | 1 | 2 | 3; degree?: number }>('sharding', options, { stage: 'mesh.sharding.stage', degree: 'mesh.sharding.degree' })
    if (degree === undefined) throw refusal('.sharding()', 'a degree', options, `.sharding({ stage: ${stage}, degree: 2 })`)
    if (stage === 0 && degree > 1) throw conflict(['stage', 'degree'], `.sharding() got stage 0, which shares nothing, and degree ${degree}`, `.sharding({ stage: 1, degree: ${degree} }), or .dp(${degree})`)
    return this.#mesh({ sharding: degree === 1 ? { degree, stage: 0 } : { degree, stage } })
  }

  /** Tensor-parallel ranks also divide norms and residuals between them, by tokens: less memory for activations (arXiv 2205.05198). Without `.tp()` it changes nothing. Default: not. */
  sequenceParallel(yes: boolean = true): this { return this.#mesh({ sequenceParallel: readValue('sequenceParallel', yes, 'mesh.sequenceParallel') }) }

  /** Numbers of the GPUs to train on, one a rank, as the machine counts them; `null` takes the first ones. Default `null`. */
  gpus(numbers: readonly number[] | null): this {
    const read = readValue('gpus', numbers, 'mesh.devices')
    return this.#mesh({ devices: read === null ? null : [...read] })
  }

  /** Sums so that the loss is bit for bit the same on 1, 2 or 4 data-parallel ranks, a little slower. Default: not. */
  deterministic(yes: boolean = true): this { return this.#with({ deterministic: readValue('deterministic', yes, 'deterministic') }) }

  /** Records micro-batches whose padded shapes recur as CUDA graphs and replays them, on a rank that is alone with its GPU, in fp32 or bf16. Default: not. */
  cudaGraphs(yes: boolean = true): this { return this.#with({ cudaGraphs: readValue('cudaGraphs', yes, 'cudaGraphs') }) }

  /** How often a run of which a rank died goes on by itself from its last checkpoint. At least 0. Default 0: it ends. */
  restart(times: number): this { return this.#with({ restart: readValue('restart', times, 'restart') }) }

  /** @internal The builder with what `plan(builder).fit()` chose. */
  fitted(change: Pick<Plan, 'mesh' | 'batch' | 'recompute'>): this { return this.#with(change) }

  #mesh(change: Partial<MeshPlan>): this { return this.#with({ mesh: { ...this.plan.mesh, ...change } }) }
}

/** Anything else is what a JavaScript user gave for a model's name, which its rule refuses. */
function isState(from: unknown): from is BuilderState { return isRecord(from) && from.given instanceof Set && isRecord(from.plan) }

/** `.bf16(false)` would otherwise do what it seems to take back. */
function refuseArguments(method: 'bf16' | 'fp32', given: ArrayLike<unknown>): void {
  if (given.length > 0) throw refusal(`.${method}()`, 'nothing', given[0], method === 'bf16' ? '.bf16(), or .fp32() to take it back' : '.fp32(), or .bf16() to take it back')
}

function readCadence(method: string, { every, each }: CadenceOptions): Cadence {
  if (every !== undefined && each !== undefined) throw conflict(['every', 'each'], `.${method}() got every and each at once`, `.${method}({ every: ${every} })`)
  if (every !== undefined) return { by: 'steps', every }
  if (each === undefined) throw refusal(`.${method}()`, 'every or each', {}, `.${method}({ every: 50 }) or .${method}({ each: 'epoch' })`)
  return each === 'epoch' ? { by: 'epoch' } : { by: 'no' }
}
