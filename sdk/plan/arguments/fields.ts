import { builtinData } from '../../data/builtin/names'
import type { Rule, RuleName } from '../rules'
import { oneOf, orNull, rule, whole } from '../rules'
import { aiStudioLicense } from '../upload'

/** One name of an argument file. */
export interface Field {
  readonly name: string
  readonly type: 'text' | 'flag' | 'whole' | 'real' | 'texts' | 'numbers' | 'names' | 'table' | 'any'
  readonly default: unknown
  /**
   * `plan`: goes into the plan. `secret`: goes to the worker alone, never into a plan, file or message. `note`: accepted,
   * with `note` saying why it changes nothing here.
   * `notYet`: any value but the default is refused, with `note` saying what to do instead.
   */
  readonly status: 'plan' | 'secret' | 'note' | 'notYet'
  readonly note: string
  /** Other names of the same field. */
  readonly aliases: readonly string[]
  readonly rule: Rule | null
}

type Extra = { rule?: RuleName | Rule; aliases?: readonly string[] }

function field(status: Field['status'], name: string, type: Field['type'], initial: unknown, note: string, { rule: given, aliases = [] }: Extra = {}): Field {
  return Object.freeze({ name, type, default: initial, status, note, aliases, rule: typeof given === 'string' ? rule(given) : given ?? null })
}
const plan = (name: string, type: Field['type'], initial: unknown, note: string, given: RuleName | Rule | null = null, aliases: readonly string[] = []) =>
  field('plan', name, type, initial, note, { rule: given ?? undefined, aliases })
const noted = (name: string, type: Field['type'], initial: unknown, note: string) => field('note', name, type, initial, note)
const notYet = (name: string, type: Field['type'], initial: unknown, note = 'leave it out', aliases: readonly string[] = []) => field('notYet', name, type, initial, note, { aliases })

const text: Rule = { expected: 'a text', example: aiStudioLicense, ok: (value) => typeof value === 'string' && value.trim() !== '' }
const strategy = oneOf('no', 'steps', 'epoch')
const degree: Rule = { ...whole(1, 2), expected: '-1 or a whole number of at least 1', ok: (value) => value === -1 || whole(1, 2).ok(value) }
const real0: Rule = { expected: 'a number of at least 0', example: 5, ok: (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0 }
const maxSteps: Rule = { expected: '-1 (as epochs say) or a whole number of at least 1', example: 200, ok: (value) => value === -1 || whole(1, 1).ok(value) }

const model: readonly Field[] = [
  plan('model_name_or_path', 'text', null, 'folder, GGUF file, builtin:…, hub repository or aistudio:OWNER/MODEL', 'model'),
  noted('use_flash_attention', 'flag', false, 'attention always runs by sequence, without a score matrix'),
  plan('lora', 'flag', false, 'train a LoRA adapter instead of all weights'),
  plan('lora_rank', 'whole', 8, 'rank of the adapter', 'lora.rank'),
  plan('lora_path', 'text', null, 'folder of an adapter to go on from, which brings rank, alpha and modules', 'lora.from'),
  plan('prefix_tuning', 'flag', false, 'train keys and values before each row instead of weights'),
  plan('prefix_path', 'text', null, 'folder of a prefix to go on from', 'prefix.from'),
  plan('num_prefix_tokens', 'whole', 128, 'trained places before each row', 'prefix.tokens'),
  plan('from_aistudio', 'flag', false, 'model_name_or_path is a repository of Baidu AI Studio'),
  plan('save_to_aistudio', 'flag', false, 'upload the final weights to AI Studio'),
  plan('aistudio_repo_id', 'text', null, 'repository for them, as OWNER/NAME; made where there is none', orNull(rule('upload.repository'))),
  plan('aistudio_repo_private', 'flag', true, 'a new repository is seen by its owner alone', 'upload.private'),
  plan('aistudio_repo_license', 'text', aiStudioLicense, 'licence of a new repository', text),
  field('secret', 'aistudio_token', 'text', null, 'access token of AI Studio; better AISTUDIO_ACCESS_TOKEN in the environment: it goes to the worker alone'),
  plan('neftune', 'flag', false, 'noise on input embeddings in training'),
  plan('neftune_noise_alpha', 'real', 5, 'how much noise', real0),
  plan('weight_quantize_algo', 'text', null, 'keep frozen weights in few bits: nf4, fp4, weight_only_int8 or weight_only_int4', orNull(rule('quantize.algorithm'))),
  plan('weight_blocksize', 'whole', 64, 'nf4, fp4: neighbouring values that share a scale', 'quantize.blockSize'),
  plan('weight_double_quant', 'flag', false, 'nf4, fp4: keep the scales in 8 bits'),
  plan('weight_double_quant_block_size', 'whole', 256, 'scales that then share a scale of their own', 'quantize.doubleQuantBlockSize'),
  plan('rslora', 'flag', false, 'scale by alpha / √rank'),
  plan('lora_plus_scale', 'real', 1, 'learning rate of B over that of A (LoRA+)', 'lora.plusRatio'),
  plan('pissa', 'flag', false, 'begin as the principal part of each weight, which is taken out of it (PiSSA)'),
]

const data: readonly Field[] = [
  plan('dataset_name_or_path', 'text', null, `folder with train.json and dev.json, one JSONL file, or a built-in data set: ${builtinData.join(', ')}`, orNull(rule('data.path')), ['task_name_or_path']),
  plan('task_name', 'text', null, `the built-in data set, in place of dataset_name_or_path: ${builtinData.join(', ')}`, orNull({ expected: `a built-in data set (${builtinData.join(', ')})`, example: builtinData[0], ok: (value) => builtinData.includes(value as string) })),
  plan('eval_with_do_generation', 'flag', false, 'evaluate by BLEU-4 and Rouge of written answers instead of perplexity and accuracy'),
  plan('save_generation_output', 'flag', false, 'write those answers into generated_output.json'),
  plan('intokens', 'flag', false, 'a row of a batch is a pack of rows, up to max_length tokens together', null, ['zero_padding']),
  plan('src_length', 'whole', 1024, 'longest source, in tokens', 'data.srcLength'),
  plan('max_length', 'whole', 2048, 'longest source + target, in tokens', 'data.maxLength'),
  plan('lazy', 'flag', false, 'stream rows while training; needs max_steps'),
  plan('chat_template', 'text', null, "a Jinja template file; null: the tokenizer's own; \"none\": no template", orNull(rule('data.template'))),
  noted('pad_to_multiple_of', 'whole', null, 'nothing is padded'),
]

const generate: readonly Field[] = [
  plan('top_k', 'whole', 1, 'answers: draw from the k likeliest tokens; 1: greedy', 'generation.topK'),
  plan('top_p', 'real', 1, 'answers: draw from the likeliest tokens that reach this probability', 'generation.topP'),
]

const schedule: readonly Field[] = [
  plan('learning_rate', 'real', 5e-5, 'highest learning rate', 'optimizer.learningRate'),
  plan('weight_decay', 'real', 0, "AdamW's weight decay", 'optimizer.weightDecay'),
  plan('adam_beta1', 'real', 0.9, 'decay of the first moment', 'optimizer.beta1'),
  plan('adam_beta2', 'real', 0.999, 'decay of the second moment', 'optimizer.beta2'),
  plan('adam_epsilon', 'real', 1e-8, 'added to the root of the second moment', 'optimizer.epsilon'),
  plan('max_grad_norm', 'real', 1, 'gradients are scaled down to this norm; 0: never', 'optimizer.maxGradNorm'),
  plan('num_train_epochs', 'real', 3, 'passes over the data', 'epochs'),
  plan('max_steps', 'whole', -1, 'optimizer steps; above 0 they win over epochs', maxSteps),
  plan('lr_scheduler_type', 'text', 'linear',
    'linear, cosine, constant, constant_with_warmup or polynomial', 'schedule.type'),
  plan('warmup_ratio', 'real', 0, 'warm-up as a share of all steps', 'schedule.warmupRatio'),
  plan('warmup_steps', 'whole', 0, 'warm-up steps; above 0 they win over the ratio', 'schedule.warmupSteps'),
  plan('num_cycles', 'real', 0.5, 'waves of cosine', 'schedule.cycles'),
  plan('lr_end', 'real', 1e-7, 'learning rate that polynomial ends at', 'schedule.endRate'),
  plan('power', 'real', 1, 'exponent of polynomial', 'schedule.power'),
  notYet('optim', 'text', 'adamw', 'use adamw'),
]

const training: readonly Field[] = [
  plan('output_dir', 'text', null, 'folder for checkpoints, metrics.jsonl and the final weights', 'output'),
  plan('overwrite_output_dir', 'flag', false, 'lose an earlier run in output_dir'),
  plan('do_train', 'flag', false, 'train'),
  plan('do_eval', 'flag', false, 'evaluate on the dev rows at the end'),
  plan('do_predict', 'flag', false, 'evaluate the final weights on test.json'),
  plan('evaluation_strategy', 'text', 'no', 'when to evaluate: no, steps or epoch', strategy),
  plan('eval_steps', 'whole', null, 'each so many steps; null: logging_steps', orNull(rule('cadence.every'))),
  plan('per_device_train_batch_size', 'whole', 8, 'rows of a batch', 'batch.size'),
  plan('per_device_eval_batch_size', 'whole', 8, 'rows of a batch in evaluation', 'batch.evalSize'),
  plan('gradient_accumulation_steps', 'whole', 1, 'batches of a step', 'batch.accumulate'),
  noted('eval_accumulation_steps', 'whole', null, 'evaluation keeps sums, not logits'),
  ...schedule,
  noted('logging_strategy', 'text', 'steps', 'metrics.jsonl has a line for every step'),
  plan('logging_steps', 'whole', 500, 'a step is shown each so many steps', 'logEvery'),
  noted('logging_first_step', 'flag', false, 'metrics.jsonl has a line for every step'),
  plan('save_strategy', 'text', 'no', 'when to write a checkpoint: no, steps or epoch', strategy),
  plan('save_steps', 'whole', 500, 'each so many steps', 'cadence.every'),
  plan('save_total_limit', 'whole', null, 'checkpoints kept; null: all', 'save.keep'),
  plan('seed', 'whole', 42, 'seed of order, initialisation and dropout', 'seed'),
  plan('data_seed', 'whole', null, 'seed of the order of rows; null: seed', 'data.seed'),
  plan('resume_from_checkpoint', 'any', null, 'path of a checkpoint; true: the newest in output_dir', 'resume'),
  plan('ignore_data_skip', 'flag', false, 'a resume begins the data again, which may have changed'),
  plan('load_best_model_at_end', 'flag', false, 'end with the weights of the best checkpoint', 'best.load'),
  plan('metric_for_best_model', 'text', null, 'figure that checkpoints are compared by; null: the loss', 'best.metric'),
  plan('greater_is_better', 'flag', null, "null: as the metric's name says", 'best.greaterIsBetter'),
]

const precision: readonly Field[] = [
  plan('bf16', 'flag', false, 'compute in bfloat16, with fp32 masters'),
  plan('fp16', 'flag', false, 'compute in half precision, with a loss scale'),
  plan('fp16_opt_level', 'text', 'O1', 'O1: fp32 weights; O2: half weights with fp32 masters', 'fp16.level'),
  noted('amp_master_grad', 'flag', false, 'gradients are always summed in fp32'),
  noted('fp16_full_eval', 'flag', false, 'evaluation computes as training does'),
  plan('scale_loss', 'real', 32768, 'first loss scale of fp16', 'fp16.lossScale'),
]

/** Names of `report_to`. */
export const reportNames = ['tensorboard', 'mlflow', 'visualdl', 'all', 'none'] as const
const reports: Rule = {
  expected: `one or a list of ${reportNames.join(', ')} (W&B reads TensorBoard's files: wandb sync --sync-tensorboard)`, example: ['tensorboard'],
  ok: (value) => [value].flat().every((name) => reportNames.includes(name as typeof reportNames[number])),
}

const tuning = 'tunes messages of the reference; no result depends on it'
const sharding: Rule = { expected: 'stage1, stage2 or stage3, perhaps with offload, or nothing', example: 'stage1', ok: (value) => typeof value === 'string' && /^(stage[123]( offload)?|offload|)$/.test(value.trim()) }
const machine: readonly Field[] = [
  plan('sharding', 'text', '', 'what ranks share: stage1 optimizer state, stage2 gradients too, stage3 parameters too', sharding),
  plan('sharding_parallel_degree', 'whole', -1, 'ranks that share; -1: what the other degrees leave of the ranks', degree),
  plan('tensor_parallel_degree', 'whole', -1, 'ranks that divide each matrix; -1: 1', degree),
  plan('pipeline_parallel_degree', 'whole', -1, 'pipeline stages; -1: 1', degree),
  plan('virtual_pp_degree', 'whole', 1, 'ranges of layers that a stage holds, interleaved; 1: plain 1F1B', 'mesh.virtual'),
  noted('tensor_parallel_config', 'text', '', tuning),
  noted('pipeline_parallel_config', 'text', '', tuning),
  noted('sharding_parallel_config', 'text', '', tuning),
  plan('sequence_parallel', 'flag', false, 'tensor-parallel ranks divide norms and residuals too, by tokens', 'mesh.sequenceParallel'),
  plan('recompute', 'flag', false, 'save memory by computing again in the backward'),
  plan('recompute_granularity', 'text', 'full', 'each layer, its attention half, or attention alone', oneOf('full', 'full_attn', 'core_attn')),
  plan('dataloader_drop_last', 'flag', false, 'leave out the last batch of an epoch when it is not full'),
  noted('dataloader_num_workers', 'whole', 0, 'rows are read from a mapped file'),
  plan('disable_tqdm', 'flag', null, 'no bars on a terminal'),
  noted('remove_unused_columns', 'flag', true, 'only src and tgt are read'),
  noted('label_names', 'any', null, 'labels are the tokens of tgt'),
  plan('report_to', 'any', ['visualdl'], 'tensorboard, mlflow or both (all), beside metrics.jsonl, which has everything; visualdl and none: nothing more', reports),
  noted('skip_memory_metrics', 'flag', true, 'memory is in every step event'),
  noted('unified_checkpoint', 'flag', false, 'checkpoints are always safetensors with a manifest'),
  plan('device', 'text', 'gpu', 'gpu takes one when there is one; cpu; cuda insists', oneOf('gpu', 'cpu', 'cuda')),
]

/** Names that the reference's files do not have, for the parts of a plan that they cannot say. */
const own: readonly Field[] = [
  plan('lora_alpha', 'real', null, 'the adapter is scaled by alpha / rank; null: 2 · rank, with rslora 4', orNull(rule('lora.alpha'))),
  plan('lora_dropout', 'real', 0, "dropout on the adapter's input", 'lora.dropout'),
  plan('lora_target_modules', 'names', null, 'modules that get an adapter: names, globs or one regular expression; null: every Linear layer but the head', orNull(rule('lora.targets'))),
  plan('dora', 'flag', false, 'train the length of each row of a weight too (DoRA)'),
  plan('lora_rank_pattern', 'table', {}, 'other ranks, by module', 'lora.rankPattern'),
  plan('lora_alpha_pattern', 'table', {}, 'other alphas, by module', 'lora.alphaPattern'),
  plan('prefix_projection', 'flag', false, 'train the prefix through a small network'),
  plan('prefix_projection_hidden_size', 'whole', null, "inner size of that network; null: the model's hidden size", 'prefix.projectionSize'),
  plan('shuffle_buffer', 'whole', 10_000, 'lazy: rows among which the next one is drawn', 'data.shuffleBuffer'),
  plan('early_stopping_patience', 'whole', null, 'end after so many evaluations without a better one', 'best.patience'),
  plan('early_stopping_threshold', 'real', 0, 'by how much a figure must improve', 'best.minDelta'),
  plan('push_to_hub', 'flag', false, "upload the final weights to Hugging Face's hub"),
  plan('hub_model_id', 'text', null, 'repository for them, as OWNER/NAME; made where there is none', orNull(rule('upload.repository'))),
  plan('hub_private_repo', 'flag', true, 'a new repository is seen by its owner alone', 'upload.private'),
  plan('hub_license', 'text', null, 'licence for the card of the model, such as apache-2.0; null: none', 'upload.license'),
  field('secret', 'hub_token', 'text', null, 'access token of Hugging Face; better HF_TOKEN in the environment: it goes to the worker alone'),
  plan('per_device_train_batch_tokens', 'whole', null, 'most tokens of a forward and backward pass: the rows of a step are cut by tokens instead of rows; null: by rows, and on CPUs batches into passes of at most 1024 tokens', 'batch.tokens'),
  plan('system', 'text', null, 'system message of every chat', 'data.system'),
  plan('blocks', 'text', 'auto', 'auto: fused blocks where there are; plain: ATen operators', 'blocks'),
  plan('ranks', 'whole', null, 'worker processes, which the degrees must multiply to; null: as many as gpus names, else as the degrees multiply to', orNull(whole(1, 4))),
  plan('gpus', 'numbers', null, 'numbers of the GPUs, one a rank; null: the first ones', 'mesh.devices'),
  plan('data_parallel_degree', 'whole', -1, 'replicas on rows of their own; -1: what the other degrees leave of the ranks', degree),
  plan('deterministic', 'flag', false, 'the same loss bit for bit on 1, 2 or 4 data-parallel ranks', 'deterministic'),
  plan('cuda_graphs', 'flag', false, 'on a GPU, micro-batches whose padded shapes recur are recorded and replayed', 'cudaGraphs'),
  plan('restart', 'whole', 0, 'how often a run of which a rank died goes on by itself from its last checkpoint', 'restart'),
  plan('threads', 'whole', null, 'CPU threads; null: all cores', 'threads'),
  plan('sample_strategy', 'text', 'no', 'when to answer sample prompts: no, steps or epoch', strategy),
  plan('sample_steps', 'whole', null, 'each so many steps; null: logging_steps', orNull(rule('cadence.every'))),
  plan('sample_prompts', 'texts', [], 'prompts of the samples; none: first rows of dev', 'sample.prompts'),
  plan('max_new_tokens', 'whole', null, 'answers: most new tokens; null: max_length − src_length', orNull(rule('generation.maxNewTokens'))),
  plan('min_new_tokens', 'whole', 0, 'answers: fewest new tokens', 'generation.minNewTokens'),
  plan('temperature', 'real', null, 'answers: 0 is greedy; null: 1, or 0 with top_k 1', orNull(rule('generation.temperature'))),
  plan('generation_seed', 'whole', 0, 'answers: seed of the draws', 'generation.seed'),
  plan('stop', 'texts', [], 'answers: texts that end an answer', 'generation.stop'),
  plan('sample_top_k', 'whole', null, 'samples alone, where they differ from the answers of an evaluation; null: as top_k', orNull(rule('generation.topK'))),
  plan('sample_top_p', 'real', null, 'the same; null: as top_p', orNull(rule('generation.topP'))),
  plan('sample_max_new_tokens', 'whole', null, 'the same; null: as max_new_tokens', orNull(rule('generation.maxNewTokens'))),
  plan('sample_min_new_tokens', 'whole', null, 'the same; null: as min_new_tokens', orNull(rule('generation.minNewTokens'))),
  plan('sample_temperature', 'real', null, 'the same; null: as temperature', orNull(rule('generation.temperature'))),
  plan('sample_generation_seed', 'whole', null, 'the same; null: as generation_seed', orNull(rule('generation.seed'))),
  plan('sample_stop', 'texts', null, 'the same; null: as stop', orNull(rule('generation.stop'))),
]

/** Groups of fields, as `fettle help run` lists them. */
export const groups: Readonly<Record<string, readonly Field[]>> = { Model: model, Data: data, Generation: generate, Training: training, Precision: precision, Machine: machine, 'Of Fettle': own }

/** All fields of an argument file. */
export const fields: readonly Field[] = Object.values(groups).flat()

/** Field by any of its names. */
export const fieldByName: ReadonlyMap<string, Field> = new Map(fields.flatMap((entry) => [entry.name, ...entry.aliases].map((name) => [name, entry] as const)))
