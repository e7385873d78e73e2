import { aiStudioPrefix } from '../../models/hub/names'
import { defaultAlpha } from '../defaults'
import type { Cadence, GenerationPlan, LoraPlan, Plan, PrefixPlan, QuantizePlan, ReportKind, UploadPlan } from '../plan'
import { refusal } from '../refuse'
import { evalSteps } from './contradictions'
import { meshFrom } from './mesh'
import type { Arguments } from './read'

const devices = { gpu: 'auto', cpu: 'cpu', cuda: 'cuda' } as const

/** The plan that arguments describe. */
export function planFrom(args: Arguments): Plan {
  const data = args.get<string | null>('dataset_name_or_path') ?? args.get<string | null>('task_name')
  for (const name of ['model_name_or_path', 'dataset_name_or_path', 'output_dir']) {
    if ((name === 'dataset_name_or_path' ? data : args.get(name)) === null) throw refusal(name, 'a value', undefined, examples[name])
  }
  const strategy = args.get<string>('evaluation_strategy')
  const maxSteps = args.get<number>('max_steps')
  const generation = generationFrom(args)
  return {
    version: 1, model: modelFrom(args),
    method: args.get('lora') ? 'lora' : args.get('prefix_tuning') ? 'prefix' : 'sft', lora: loraFrom(args), prefix: prefixFrom(args), quantize: quantizeFrom(args),
    neftune: args.get('neftune') ? args.get('neftune_noise_alpha') : null,
    data: {
      path: data, srcLength: args.get('src_length'), maxLength: args.get('max_length'),
      template: args.get('chat_template') ?? 'auto', system: args.get('system'),
      packing: args.get('intokens'), lazy: args.get('lazy'), shuffleBuffer: args.get('shuffle_buffer'),
      seed: args.get('data_seed'), dropLast: args.get('dataloader_drop_last'),
    },
    precision: args.get('bf16') ? 'bf16' : args.get('fp16') ? 'fp16' : 'fp32', fp16: { level: args.get('fp16_opt_level'), lossScale: args.get('scale_loss') },
    recompute: args.get('recompute') ? args.get('recompute_granularity') : 'none',
    device: devices[args.get<keyof typeof devices>('device')], blocks: args.get('blocks'),
    optimizer: {
      learningRate: args.get('learning_rate'), weightDecay: args.get('weight_decay'), beta1: args.get('adam_beta1'), beta2: args.get('adam_beta2'),
      epsilon: args.get('adam_epsilon'), maxGradNorm: args.get('max_grad_norm'),
    },
    schedule: {
      type: args.get('lr_scheduler_type'), warmupSteps: args.get('warmup_steps'), warmupRatio: args.get('warmup_ratio'),
      cycles: args.get('num_cycles'), endRate: args.get('lr_end'), power: args.get('power'),
    },
    batch: { size: args.get('per_device_train_batch_size'), evalSize: args.get('per_device_eval_batch_size'), accumulate: args.get('gradient_accumulation_steps'), tokens: args.get('per_device_train_batch_tokens') },
    epochs: args.get('num_train_epochs'), steps: maxSteps === -1 ? null : maxSteps,
    evaluate: cadence(strategy, evalSteps(args)),
    evaluation: { generate: args.get('eval_with_do_generation'), saveOutput: args.get('save_generation_output'), generation },
    best: {
      metric: args.get('metric_for_best_model'), greaterIsBetter: args.get('greater_is_better'), load: args.get('load_best_model_at_end'),
      patience: args.get('early_stopping_patience'), minDelta: args.get('early_stopping_threshold'),
    },
    sample: {
      cadence: cadence(args.get('sample_strategy'), args.get<number | null>('sample_steps') ?? args.get('logging_steps')),
      prompts: args.get('sample_prompts'), generation: sampleGenerationFrom(args, generation),
    },
    save: { cadence: cadence(args.get('save_strategy'), args.get('save_steps')), keep: args.get('save_total_limit') },
    upload: uploadFrom(args),
    logEvery: args.get('logging_steps'), train: args.get('do_train'),
    predict: args.get('do_predict'), evalAtEnd: args.has('do_eval') ? args.get('do_eval') : strategy !== 'no',
    seed: args.get('seed'), output: args.get('output_dir'), overwrite: args.get('overwrite_output_dir'), resume: args.get('resume_from_checkpoint') || null,
    resumeData: args.get('ignore_data_skip') ? 'restart' : 'continue',
    mesh: meshFrom(args), deterministic: args.get('deterministic'), cudaGraphs: args.get('cuda_graphs'), restart: args.get('restart'),
    threads: args.get('threads'), progress: args.get('disable_tqdm') !== true, report: reportFrom(args),
  }
}

const examples: Record<string, string> = {
  model_name_or_path: '"model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"',
  dataset_name_or_path: '"dataset_name_or_path": "./data"',
  output_dir: '"output_dir": "output/my-run"',
}

/** A name with the hub that it is of. */
function modelFrom(args: Arguments): string {
  const name = args.get<string>('model_name_or_path')
  return args.get('from_aistudio') && !name.startsWith(aiStudioPrefix) ? `${aiStudioPrefix}${name}` : name
}

function quantizeFrom(args: Arguments): QuantizePlan | null {
  const algorithm = args.get<QuantizePlan['algorithm'] | null>('weight_quantize_algo')
  return algorithm && { algorithm, blockSize: args.get('weight_blocksize'), doubleQuant: args.get('weight_double_quant'), doubleQuantBlockSize: args.get('weight_double_quant_block_size') }
}

function uploadFrom(args: Arguments): UploadPlan | null {
  if (args.get('save_to_aistudio')) return { to: 'aistudio', repository: args.get('aistudio_repo_id'), private: args.get('aistudio_repo_private'), license: args.get('aistudio_repo_license') }
  if (args.get('push_to_hub')) return { to: 'huggingface', repository: args.get('hub_model_id'), private: args.get('hub_private_repo'), license: args.get('hub_license') }
  return null
}

function loraFrom(args: Arguments): LoraPlan | null {
  if (!args.get('lora')) return null
  const rank = args.get<number>('lora_rank'), rsLora = args.get<boolean>('rslora')
  return {
    rank, alpha: args.get<number | null>('lora_alpha') ?? defaultAlpha(rank, rsLora), dropout: args.get('lora_dropout'),
    targets: args.get<string | string[] | null>('lora_target_modules') ?? 'all-linear', rsLora, dora: args.get('dora'), pissa: args.get('pissa'), plusRatio: args.get('lora_plus_scale'),
    rankPattern: args.get('lora_rank_pattern'), alphaPattern: args.get('lora_alpha_pattern'), from: args.get('lora_path'),
  }
}

function prefixFrom(args: Arguments): PrefixPlan | null {
  if (!args.get('prefix_tuning')) return null
  return { tokens: args.get('num_prefix_tokens'), projection: args.get('prefix_projection'), projectionSize: args.get('prefix_projection_hidden_size'), from: args.get('prefix_path') }
}

function generationFrom(args: Arguments): GenerationPlan {
  const topK = args.get<number>('top_k')
  const room = args.get<number>('max_length') - args.get<number>('src_length')
  return {
    topK, topP: args.get('top_p'), temperature: args.get<number | null>('temperature') ?? (topK === 1 ? 0 : 1),
    maxNewTokens: args.get<number | null>('max_new_tokens') ?? Math.max(1, room), minNewTokens: args.get('min_new_tokens'),
    seed: args.get('generation_seed'), stop: args.get('stop'),
  }
}

/** Samples are answered as evaluations are, but for what is said of them alone. */
function sampleGenerationFrom(args: Arguments, answers: GenerationPlan): GenerationPlan {
  const own = <K extends keyof GenerationPlan>(name: string, key: K): GenerationPlan[K] => args.get<GenerationPlan[K] | null>(`sample_${name}`) ?? answers[key]
  return {
    topK: own('top_k', 'topK'), topP: own('top_p', 'topP'), temperature: own('temperature', 'temperature'), maxNewTokens: own('max_new_tokens', 'maxNewTokens'),
    minNewTokens: own('min_new_tokens', 'minNewTokens'), seed: own('generation_seed', 'seed'), stop: own('stop', 'stop'),
  }
}

function reportFrom(args: Arguments): ReportKind[] {
  const names = [args.get<string | string[]>('report_to')].flat()
  return (['tensorboard', 'mlflow'] as const).filter((kind) => names.includes(kind) || names.includes('all'))
}

function cadence(strategy: string, every: number): Cadence {
  if (strategy === 'steps') return { by: 'steps', every }
  return strategy === 'epoch' ? { by: 'epoch' } : { by: 'no' }
}
