import { PlanError } from '../../errors'
import { conflict, show } from '../refuse'
import type { Arguments } from './read'

interface Contradiction {
  readonly fields: readonly string[]
  readonly holds: (args: Arguments) => boolean
  readonly message: (args: Arguments) => string
  readonly remedy: string
}

const on = (args: Arguments, ...names: string[]): boolean => names.every((name) => args.get(name) === true)

/** Arguments that exclude each other, with the way out. */
const contradictions: readonly Contradiction[] = [
  {
    fields: ['bf16', 'fp16'], holds: (args) => on(args, 'bf16', 'fp16'),
    message: () => 'bf16 and fp16 are both true, and a run computes in one of them', remedy: '"fp16": false',
  },
  {
    fields: ['lora', 'prefix_tuning'], holds: (args) => on(args, 'lora', 'prefix_tuning'),
    message: () => 'lora and prefix_tuning are both true, and a run trains with one method', remedy: '"prefix_tuning": false',
  },
  {
    fields: ['weight_quantize_algo', 'lora', 'prefix_tuning'], holds: (args) => args.get('weight_quantize_algo') !== null && !on(args, 'lora') && !on(args, 'prefix_tuning'),
    message: () => 'weight_quantize_algo keeps frozen weights in few bits, and without lora or prefix_tuning all weights train', remedy: '"lora": true',
  },
  {
    fields: ['pissa', 'lora_path'], holds: (args) => on(args, 'lora', 'pissa') && args.get('lora_path') !== null,
    message: () => 'pissa begins from the weights, and lora_path from an adapter', remedy: '"pissa": false',
  },
  {
    fields: ['save_to_aistudio', 'push_to_hub'], holds: (args) => on(args, 'save_to_aistudio', 'push_to_hub'),
    message: () => 'save_to_aistudio and push_to_hub are both true, and a run uploads to one place', remedy: '"push_to_hub": false, and fettle upload for the other',
  },
  {
    fields: ['save_to_aistudio', 'aistudio_repo_id'], holds: (args) => on(args, 'save_to_aistudio') && args.get('aistudio_repo_id') === null,
    message: () => 'save_to_aistudio needs a repository to upload to, and aistudio_repo_id names none', remedy: '"aistudio_repo_id": "me/my-run"',
  },
  {
    fields: ['push_to_hub', 'hub_model_id'], holds: (args) => on(args, 'push_to_hub') && args.get('hub_model_id') === null,
    message: () => 'push_to_hub needs a repository to upload to, and hub_model_id names none', remedy: '"hub_model_id": "me/my-run"',
  },
  {
    fields: ['task_name', 'dataset_name_or_path'],
    holds: (args) => args.get('task_name') !== null && args.get('dataset_name_or_path') !== null && args.get('task_name') !== args.get('dataset_name_or_path'),
    message: (args) => `task_name asks for the built-in data set ${args.get('task_name')} while dataset_name_or_path is ${show(args.get('dataset_name_or_path'))}`, remedy: 'one of them alone',
  },
  {
    fields: ['load_best_model_at_end', 'evaluation_strategy', 'save_strategy'],
    holds: (args) => on(args, 'load_best_model_at_end') && args.get('evaluation_strategy') !== args.get('save_strategy'),
    message: (args) => `load_best_model_at_end needs a checkpoint at each evaluation, but evaluation_strategy is ${show(args.get('evaluation_strategy'))} and save_strategy ${show(args.get('save_strategy'))}`,
    remedy: 'the same strategy for both, or "load_best_model_at_end": false',
  },
  {
    fields: ['load_best_model_at_end', 'evaluation_strategy', 'save_strategy'],
    holds: (args) => on(args, 'load_best_model_at_end') && args.get('evaluation_strategy') === 'no',
    message: () => 'load_best_model_at_end needs evaluations, and evaluation_strategy is "no"', remedy: '"evaluation_strategy": "epoch" and "save_strategy": "epoch", or "load_best_model_at_end": false',
  },
  {
    fields: ['load_best_model_at_end', 'eval_steps', 'save_steps'],
    holds: (args) => on(args, 'load_best_model_at_end') && args.get('save_strategy') === 'steps' && args.get<number>('save_steps') % evalSteps(args) !== 0,
    message: (args) => `load_best_model_at_end needs save_steps to be a multiple of eval_steps, but they are ${args.get('save_steps')} and ${evalSteps(args)}`,
    remedy: 'save_steps as a multiple of eval_steps, or "load_best_model_at_end": false',
  },
  {
    fields: ['lazy', 'max_steps'], holds: (args) => on(args, 'lazy') && args.get('max_steps') === -1,
    message: () => 'lazy reads data without knowing its length, so num_train_epochs has no meaning', remedy: '"max_steps": 1000, or "lazy": false',
  },
  {
    fields: ['intokens', 'eval_with_do_generation'], holds: (args) => on(args, 'intokens', 'eval_with_do_generation'),
    message: () => 'intokens packs rows into one, and eval_with_do_generation needs each row on its own', remedy: '"intokens": false',
  },
  {
    fields: ['early_stopping_patience', 'evaluation_strategy'], holds: (args) => args.get('early_stopping_patience') !== null && args.get('evaluation_strategy') === 'no',
    message: () => 'early_stopping_patience counts evaluations, and evaluation_strategy is "no"', remedy: '"evaluation_strategy": "epoch"',
  },
  {
    fields: ['ranks', 'gpus'], holds: (args) => args.get('gpus') !== null && args.get('ranks') !== null && args.get<unknown[]>('gpus').length !== args.get('ranks'),
    message: (args) => `gpus names ${args.get<unknown[]>('gpus').length} and ranks says ${args.get('ranks')}, and each rank has a GPU of its own`, remedy: 'gpus alone',
  },
  {
    fields: ['do_train', 'do_eval'], holds: (args) => !on(args, 'do_train') && !on(args, 'do_eval') && !on(args, 'do_predict'),
    message: () => 'none of do_train, do_eval and do_predict is true, so there is nothing to do', remedy: '"do_train": true',
  },
]

/** eval_steps, which stands for logging_steps while it is null. */
export function evalSteps(args: Arguments): number { return args.get<number | null>('eval_steps') ?? args.get('logging_steps') }

/** Throws for the first contradiction. */
export function refuseContradictions(args: Arguments): void {
  const found = contradictions.find(({ holds }) => holds(args))
  if (found) throw conflict(found.fields, found.message(args), found.remedy, args.where(...found.fields))
}

/** Throws one error that names everything set that this version cannot do. */
export function refuseNotYet(args: Arguments): void {
  const refused = args.changed().filter(({ field }) => field.status === 'notYet')
    .map(({ field, value, where }) => ({ where, name: field.name, text: `${field.name} ${show(value)} is not there yet; ${field.note}` }))
  if (args.get<string>('sharding').includes('offload')) refused.push({ where: args.where('sharding'), name: 'sharding', text: `sharding ${show(args.get('sharding'))} is not there yet; leave offload out` })
  if (refused.length === 0) return
  throw new PlanError('plan.notYet', refused.map(({ where, text }) => where + text).join('\n'), { fields: refused.map(({ name }) => name) })
}
