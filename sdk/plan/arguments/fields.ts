import type { Rule, RuleName } from '../rules'
import { oneOf, orNull, rule, whole } from '../rules'

/** One name of an argument file. */
export interface Field {
  readonly name: string
  readonly type: 'text' | 'flag' | 'whole' | 'real' | 'texts' | 'any'
  readonly default: unknown
  /**
   * `plan`: goes into the plan. `note`: accepted, with `note` saying why it changes nothing here.
   * `notYet`: any value but the default is refused, with `note` saying what to do instead.
   */
  readonly status: 'plan' | 'note' | 'notYet'
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

const strategy = oneOf('no', 'steps', 'epoch')
const degree: Rule = { ...whole(1, 1), expected: '-1 (all ranks) or a whole number of at least 1', ok: (value) => value === -1 || whole(1, 1).ok(value) }
const maxSteps: Rule = { expected: '-1 (as epochs say) or a whole number of at least 1', example: 200, ok: (value) => value === -1 || whole(1, 1).ok(value) }

const model: readonly Field[] = [
  plan('model_name_or_path', 'text', null, 'folder, GGUF file, builtin:… or hub repository', 'model'),
  noted('use_flash_attention', 'flag', false, 'attention always runs by sequence, without a score matrix'),
  plan('lora', 'flag', false, 'train a LoRA adapter instead of all weights'),
  plan('lora_rank', 'whole', 8, 'rank of the adapter', 'lora.rank'),
  notYet('lora_path', 'text', null, 'to go on with an adapter, use resume_from_checkpoint'),
  notYet('prefix_tuning', 'flag', false, 'use lora'),
  notYet('prefix_path', 'text', null, 'use lora'),
  notYet('num_prefix_tokens', 'whole', 128),
  notYet('from_aistudio', 'flag', false, 'use a local folder or a hub repository'),
  notYet('save_to_aistudio', 'flag', false, 'the result stands in output_dir'),
  notYet('aistudio_repo_id', 'text', null),
  notYet('aistudio_repo_private', 'flag', true),
  notYet('aistudio_repo_license', 'text', 'Apache License 2.0'),
  notYet('aistudio_token', 'text', null, 'leave it out, and keep tokens out of argument files'),
  notYet('neftune', 'flag', false),
  notYet('neftune_noise_alpha', 'real', 5),
  notYet('weight_quantize_algo', 'text', null, 'use bf16 with lora to save memory'),
  notYet('weight_blocksize', 'whole', 64),
  notYet('weight_double_quant', 'flag', false),
  notYet('weight_double_quant_block_size', 'whole', 256),
  notYet('rslora', 'flag', false, 'set lora_alpha to the scale that you want times lora_rank'),
  notYet('lora_plus_scale', 'real', 1),
  notYet('pissa', 'flag', false),
]

const data: readonly Field[] = [
  plan('dataset_name_or_path', 'text', null, 'folder with train.json and dev.json, or one JSONL file', orNull(rule('data.path')), ['task_name_or_path']),
  notYet('task_name', 'text', null, 'give the folder in dataset_name_or_path'),
  notYet('eval_with_do_generation', 'flag', false, 'evaluation gives loss, perplexity and token accuracy'),
  notYet('save_generation_output', 'flag', false, 'use fettle generate'),
  notYet('intokens', 'flag', false, 'rows are always packed without padding, and batch sizes count rows: leave it out', ['zero_padding']),
  plan('src_length', 'whole', 1024, 'longest source, in tokens', 'data.srcLength'),
  plan('max_length', 'whole', 2048, 'longest source + target, in tokens', 'data.maxLength'),
  notYet('lazy', 'flag', false, 'data is prepared once, on disk'),
  plan('chat_template', 'text', null, "a Jinja template file; null: the tokenizer's own; \"none\": no template", orNull(rule('data.template'))),
  noted('pad_to_multiple_of', 'whole', null, 'nothing is padded'),
]

const generate: readonly Field[] = [
  plan('top_k', 'whole', 1, 'samples: draw from the k likeliest tokens; 1: greedy', 'generation.topK'),
  plan('top_p', 'real', 1, 'samples: draw from the likeliest tokens that reach this probability', 'generation.topP'),
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
    'linear, cosine, constant or constant_with_warmup', oneOf('linear', 'cosine', 'constant', 'constant_with_warmup', 'polynomial')),
  plan('warmup_ratio', 'real', 0, 'warm-up as a share of all steps', 'schedule.warmupRatio'),
  plan('warmup_steps', 'whole', 0, 'warm-up steps; above 0 they win over the ratio', 'schedule.warmupSteps'),
  notYet('num_cycles', 'real', 0.5),
  notYet('lr_end', 'real', 1e-7),
  notYet('power', 'real', 1),
  notYet('optim', 'text', 'adamw', 'use adamw'),
]

const training: readonly Field[] = [
  plan('output_dir', 'text', null, 'folder for checkpoints, metrics.jsonl and the final weights', 'output'),
  plan('overwrite_output_dir', 'flag', false, 'lose an earlier run in output_dir'),
  plan('do_train', 'flag', false, 'train'),
  plan('do_eval', 'flag', false, 'evaluate on the dev rows at the end'),
  notYet('do_predict', 'flag', false, 'use fettle generate'),
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
  plan('save_strategy', 'text', 'steps', 'when to write a checkpoint: no, steps or epoch', strategy),
  plan('save_steps', 'whole', 500, 'each so many steps', 'cadence.every'),
  plan('save_total_limit', 'whole', null, 'checkpoints kept; null: all', 'save.keep'),
  plan('seed', 'whole', 42, 'seed of order, initialisation and dropout', 'seed'),
  notYet('data_seed', 'whole', null, 'seed covers the order of the data too'),
  plan('resume_from_checkpoint', 'any', null, 'path of a checkpoint; true: the newest in output_dir', 'resume'),
  noted('ignore_data_skip', 'flag', false, 'the order of rows needs no skipping: a resume reads on at once'),
  notYet('load_best_model_at_end', 'flag', false, 'take the checkpoint that you want from output_dir'),
  noted('metric_for_best_model', 'text', null, 'it means nothing without load_best_model_at_end'),
  noted('greater_is_better', 'flag', null, 'it means nothing without load_best_model_at_end'),
]

const precision: readonly Field[] = [
  plan('bf16', 'flag', false, 'compute in bfloat16, with fp32 masters'),
  notYet('fp16', 'flag', false, 'use bf16'),
  noted('fp16_opt_level', 'text', 'O1', 'weights always keep fp32 masters'),
  noted('amp_master_grad', 'flag', false, 'gradients are always summed in fp32'),
  notYet('fp16_full_eval', 'flag', false, 'use bf16'),
  noted('scale_loss', 'real', 32768, 'bf16 and fp32 need no loss scale'),
]

const oneRank = 'use 1'
const sharding: Rule = { ...oneOf('stage1', 'stage2', 'stage3', 'offload', ''), example: 'stage1' }
const machine: readonly Field[] = [
  field('notYet', 'sharding', 'text', '', 'leave it out: one rank has nothing to share', { rule: sharding }),
  plan('sharding_parallel_degree', 'whole', -1, oneRank, degree),
  plan('tensor_parallel_degree', 'whole', -1, oneRank, degree),
  plan('pipeline_parallel_degree', 'whole', -1, oneRank, degree),
  noted('tensor_parallel_config', 'text', '', 'one rank needs none'),
  noted('pipeline_parallel_config', 'text', '', 'one rank needs none'),
  noted('sharding_parallel_config', 'text', '', 'one rank needs none'),
  noted('sequence_parallel', 'flag', false, 'one rank holds whole sequences'),
  notYet('recompute', 'flag', false, 'leave it out: results are the same, with more memory'),
  noted('recompute_granularity', 'text', 'full', 'it means nothing without recompute'),
  notYet('dataloader_drop_last', 'flag', false, 'the last, shorter batch weighs its own tokens'),
  noted('dataloader_num_workers', 'whole', 0, 'rows are read from a mapped file'),
  noted('disable_tqdm', 'flag', null, 'a progress bar shows on a terminal only'),
  noted('remove_unused_columns', 'flag', true, 'only src and tgt are read'),
  noted('label_names', 'any', null, 'labels are the tokens of tgt'),
  noted('report_to', 'any', ['visualdl'], 'events go to output_dir/metrics.jsonl'),
  noted('skip_memory_metrics', 'flag', true, 'memory is in every step event'),
  noted('unified_checkpoint', 'flag', false, 'checkpoints are always safetensors with a manifest'),
  plan('device', 'text', 'gpu', 'gpu takes one when there is one; cpu; cuda insists', oneOf('gpu', 'cpu', 'cuda')),
]

/** Names that the reference's files do not have, for the parts of a plan that they cannot say. */
const own: readonly Field[] = [
  plan('lora_alpha', 'real', null, 'the adapter is scaled by alpha / rank; null: 2 · rank', orNull(rule('lora.alpha'))),
  plan('lora_dropout', 'real', 0, "dropout on the adapter's input", 'lora.dropout'),
  plan('lora_target_modules', 'texts', null, 'modules that get an adapter; null: every Linear layer but the head', orNull(rule('lora.targets'))),
  plan('system', 'text', null, 'system message of every chat', 'data.system'),
  plan('blocks', 'text', 'auto', 'auto: fused blocks where there are; plain: ATen operators', 'blocks'),
  plan('threads', 'whole', null, 'CPU threads; null: all cores', 'threads'),
  plan('sample_strategy', 'text', 'no', 'when to answer sample prompts: no, steps or epoch', strategy),
  plan('sample_steps', 'whole', null, 'each so many steps; null: logging_steps', orNull(rule('cadence.every'))),
  plan('sample_prompts', 'texts', [], 'prompts of the samples; none: first rows of dev', 'sample.prompts'),
  plan('max_new_tokens', 'whole', null, 'samples: most new tokens; null: max_length − src_length', orNull(rule('generation.maxNewTokens'))),
  plan('min_new_tokens', 'whole', 0, 'samples: fewest new tokens', 'generation.minNewTokens'),
  plan('temperature', 'real', null, 'samples: 0 is greedy; null: 1, or 0 with top_k 1', orNull(rule('generation.temperature'))),
  plan('generation_seed', 'whole', 0, 'samples: seed of the draws', 'generation.seed'),
  plan('stop', 'texts', [], 'samples: texts that end an answer', 'generation.stop'),
]

/** Groups of fields, as `fettle help run` lists them. */
export const groups: Readonly<Record<string, readonly Field[]>> = { Model: model, Data: data, Generation: generate, Training: training, Precision: precision, Machine: machine, 'Of Fettle': own }

/** All fields of an argument file. */
export const fields: readonly Field[] = Object.values(groups).flat()

/** Field by any of its names. */
export const fieldByName: ReadonlyMap<string, Field> = new Map(fields.flatMap((entry) => [entry.name, ...entry.aliases].map((name) => [name, entry] as const)))
