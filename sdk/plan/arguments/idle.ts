import { meshFrom, stageOf } from './mesh'
import type { Arguments } from './read'

interface Idle {
  readonly fields: readonly string[]
  readonly holds: (args: Arguments) => boolean
  readonly why: (args: Arguments) => string
}

const not = (name: string, ...values: unknown[]) => (args: Arguments): boolean => !values.includes(args.get(name))
const because = (name: string) => (args: Arguments): string => `${name} is ${JSON.stringify(args.get(name))}`

const loraFields = ['lora_rank', 'lora_alpha', 'lora_target_modules', 'rslora', 'dora', 'lora_rank_pattern', 'lora_alpha_pattern']

/** Settings that qualify another one which is off. */
const idle: readonly Idle[] = [
  { fields: [...loraFields, 'pissa', 'lora_path', 'lora_dropout', 'lora_plus_scale'], holds: not('lora', true), why: because('lora') },
  { fields: loraFields, holds: (args) => args.get('lora') === true && args.get('lora_path') !== null, why: () => 'the adapter at lora_path has its own' },
  { fields: ['num_prefix_tokens', 'prefix_path', 'prefix_projection', 'prefix_projection_hidden_size'], holds: not('prefix_tuning', true), why: because('prefix_tuning') },
  { fields: ['num_prefix_tokens', 'prefix_projection', 'prefix_projection_hidden_size'], holds: (args) => args.get('prefix_tuning') === true && args.get('prefix_path') !== null, why: () => 'the prefix at prefix_path has its own' },
  { fields: ['prefix_projection_hidden_size'], holds: (args) => args.get('prefix_tuning') === true && args.get('prefix_path') === null && args.get('prefix_projection') === false, why: because('prefix_projection') },
  { fields: ['aistudio_repo_id', 'aistudio_repo_private', 'aistudio_repo_license'], holds: not('save_to_aistudio', true), why: because('save_to_aistudio') },
  { fields: ['aistudio_token'], holds: (args) => args.get('save_to_aistudio') === false && args.get('from_aistudio') === false, why: () => 'nothing is fetched from AI Studio or uploaded to it' },
  { fields: ['hub_model_id', 'hub_private_repo', 'hub_license'], holds: not('push_to_hub', true), why: because('push_to_hub') },
  { fields: ['save_to_aistudio', 'push_to_hub'], holds: not('do_train', true), why: because('do_train') },
  { fields: ['ignore_data_skip'], holds: (args) => !args.get('resume_from_checkpoint'), why: because('resume_from_checkpoint') },
  { fields: ['neftune_noise_alpha'], holds: not('neftune', true), why: because('neftune') },
  { fields: ['shuffle_buffer'], holds: not('lazy', true), why: because('lazy') },
  { fields: ['fp16_opt_level', 'scale_loss'], holds: not('fp16', true), why: because('fp16') },
  { fields: ['sharding'], holds: (args) => args.get<string>('sharding') !== '' && meshFrom(args).sharding.degree === 1, why: () => 'one rank has nothing to share' },
  { fields: ['sharding_parallel_degree'], holds: (args) => stageOf(args) === 0 && args.get<number>('sharding_parallel_degree') > 1, why: because('sharding') },
  { fields: ['sequence_parallel'], holds: (args) => args.get<number>('tensor_parallel_degree') <= 1, why: () => 'it divides what tensor-parallel ranks hold, and tensor_parallel_degree is not above 1' },
  { fields: ['virtual_pp_degree'], holds: (args) => args.get<number>('pipeline_parallel_degree') <= 1, why: () => 'stages are interleaved where pipeline_parallel_degree is above 1' },
  { fields: ['recompute_granularity'], holds: not('recompute', true), why: because('recompute') },
  { fields: ['num_cycles'], holds: not('lr_scheduler_type', 'cosine'), why: because('lr_scheduler_type') },
  { fields: ['lr_end', 'power'], holds: not('lr_scheduler_type', 'polynomial'), why: because('lr_scheduler_type') },
  { fields: ['save_generation_output'], holds: not('eval_with_do_generation', true), why: because('eval_with_do_generation') },
  {
    fields: ['metric_for_best_model', 'greater_is_better', 'early_stopping_threshold'],
    holds: (args) => args.get('load_best_model_at_end') === false && args.get('early_stopping_patience') === null, why: () => 'load_best_model_at_end is false, and there is no early_stopping_patience',
  },
  { fields: ['warmup_steps', 'warmup_ratio'], holds: (args) => args.get('lr_scheduler_type') === 'constant', why: (args) => `${because('lr_scheduler_type')(args)} (constant_with_warmup rises first)` },
  { fields: ['eval_steps'], holds: not('evaluation_strategy', 'steps'), why: because('evaluation_strategy') },
  { fields: ['save_steps'], holds: not('save_strategy', 'steps'), why: because('save_strategy') },
  { fields: ['save_total_limit'], holds: (args) => args.get('save_strategy') === 'no', why: because('save_strategy') },
  { fields: ['sample_steps'], holds: not('sample_strategy', 'steps'), why: because('sample_strategy') },
]

/** One sentence for each argument that was set and has no effect beside the others. */
export function idleNotes(args: Arguments): string[] {
  const set = new Set(args.changed().map(({ field }) => field.name))
  return idle.filter(({ holds }) => holds(args)).flatMap(({ fields, why }) => fields.filter((name) => set.has(name)).map((name) => `${name} changes nothing: ${why(args)}`))
}
