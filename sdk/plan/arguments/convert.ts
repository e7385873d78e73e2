import { defaultGeneration } from '../defaults'
import type { Cadence, GenerationPlan, LoraPlan, Plan } from '../plan'
import { refusal } from '../refuse'
import { evalSteps } from './contradictions'
import type { Arguments } from './read'

const devices = { gpu: 'auto', cpu: 'cpu', cuda: 'cuda' } as const

/** The plan that arguments describe. */
export function planFrom(args: Arguments): Plan {
  for (const name of ['model_name_or_path', 'dataset_name_or_path', 'output_dir']) {
    if (args.get(name) === null) throw refusal(name, 'a value', undefined, examples[name])
  }
  const strategy = args.get<string>('evaluation_strategy')
  const maxSteps = args.get<number>('max_steps')
  return {
    version: 1, model: args.get('model_name_or_path'),
    method: args.get('lora') ? 'lora' : 'sft', lora: loraFrom(args),
    data: {
      path: args.get('dataset_name_or_path'), srcLength: args.get('src_length'), maxLength: args.get('max_length'),
      template: args.get('chat_template') ?? 'auto', system: args.get('system'),
    },
    precision: args.get('bf16') ? 'bf16' : 'fp32', device: devices[args.get<keyof typeof devices>('device')], blocks: args.get('blocks'),
    optimizer: {
      learningRate: args.get('learning_rate'), weightDecay: args.get('weight_decay'), beta1: args.get('adam_beta1'), beta2: args.get('adam_beta2'),
      epsilon: args.get('adam_epsilon'), maxGradNorm: args.get('max_grad_norm'),
    },
    schedule: { type: args.get('lr_scheduler_type'), warmupSteps: args.get('warmup_steps'), warmupRatio: args.get('warmup_ratio') },
    batch: { size: args.get('per_device_train_batch_size'), evalSize: args.get('per_device_eval_batch_size'), accumulate: args.get('gradient_accumulation_steps') },
    epochs: args.get('num_train_epochs'), steps: maxSteps === -1 ? null : maxSteps,
    evaluate: cadence(strategy, evalSteps(args)),
    sample: {
      cadence: cadence(args.get('sample_strategy'), args.get<number | null>('sample_steps') ?? args.get('logging_steps')),
      prompts: args.get('sample_prompts'), generation: generationFrom(args),
    },
    save: { cadence: cadence(args.get('save_strategy'), args.get('save_steps')), keep: args.get('save_total_limit') },
    logEvery: args.get('logging_steps'), train: args.get('do_train'),
    evalAtEnd: args.has('do_eval') ? args.get('do_eval') : strategy !== 'no',
    seed: args.get('seed'), output: args.get('output_dir'), overwrite: args.get('overwrite_output_dir'), resume: args.get('resume_from_checkpoint') || null,
    mesh: { dp: 1, sharding: { degree: 1, stage: 0 }, pp: 1, tp: 1 },
    threads: args.get('threads'),
  }
}

const examples: Record<string, string> = {
  model_name_or_path: '"model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"',
  dataset_name_or_path: '"dataset_name_or_path": "./data"',
  output_dir: '"output_dir": "output/my-run"',
}

function loraFrom(args: Arguments): LoraPlan | null {
  if (!args.get('lora')) return null
  const rank = args.get<number>('lora_rank')
  return { rank, alpha: args.get<number | null>('lora_alpha') ?? 2 * rank, dropout: args.get('lora_dropout'), targets: args.get<string[] | null>('lora_target_modules') ?? 'all-linear' }
}

function generationFrom(args: Arguments): GenerationPlan {
  const topK = args.get<number>('top_k')
  const room = args.get<number>('max_length') - args.get<number>('src_length')
  return {
    ...defaultGeneration, topK, topP: args.get('top_p'), temperature: args.get<number | null>('temperature') ?? (topK === 1 ? 0 : 1),
    maxNewTokens: args.get<number | null>('max_new_tokens') ?? Math.max(1, room), minNewTokens: args.get('min_new_tokens'),
    seed: args.get('generation_seed'), stop: args.get('stop'),
  }
}

function cadence(strategy: string, every: number): Cadence {
  if (strategy === 'steps') return { by: 'steps', every }
  return strategy === 'epoch' ? { by: 'epoch' } : { by: 'no' }
}

/** The argument file of a plan: `parseArguments` of it gives the same plan back. */
export function toArguments(plan: Plan): Record<string, unknown> {
  const { data, optimizer, schedule, batch, sample, save, lora } = plan
  const loraArguments = lora === null ? {} : {
    lora_rank: lora.rank, lora_alpha: lora.alpha, lora_dropout: lora.dropout, lora_target_modules: lora.targets === 'all-linear' ? null : lora.targets,
  }
  const { generation } = sample
  return {
    model_name_or_path: plan.model, lora: lora !== null, ...loraArguments,
    dataset_name_or_path: data.path, src_length: data.srcLength, max_length: data.maxLength, chat_template: data.template === 'auto' ? null : data.template, system: data.system,
    output_dir: plan.output, overwrite_output_dir: plan.overwrite, resume_from_checkpoint: plan.resume, do_train: plan.train, do_eval: plan.evalAtEnd,
    evaluation_strategy: plan.evaluate.by, ...every('eval_steps', plan.evaluate),
    save_strategy: save.cadence.by, ...every('save_steps', save.cadence), save_total_limit: save.keep,
    per_device_train_batch_size: batch.size, per_device_eval_batch_size: batch.evalSize, gradient_accumulation_steps: batch.accumulate,
    learning_rate: optimizer.learningRate, weight_decay: optimizer.weightDecay, adam_beta1: optimizer.beta1, adam_beta2: optimizer.beta2,
    adam_epsilon: optimizer.epsilon, max_grad_norm: optimizer.maxGradNorm,
    lr_scheduler_type: schedule.type, warmup_steps: schedule.warmupSteps, warmup_ratio: schedule.warmupRatio,
    num_train_epochs: plan.epochs, max_steps: plan.steps ?? -1, logging_steps: plan.logEvery, seed: plan.seed,
    bf16: plan.precision === 'bf16', device: plan.device === 'auto' ? 'gpu' : plan.device, blocks: plan.blocks, threads: plan.threads,
    sample_strategy: sample.cadence.by, ...every('sample_steps', sample.cadence), sample_prompts: sample.prompts,
    top_k: generation.topK, top_p: generation.topP, temperature: generation.temperature, max_new_tokens: generation.maxNewTokens,
    min_new_tokens: generation.minNewTokens, generation_seed: generation.seed, stop: generation.stop,
  }
}

function every(name: string, { by, ...rest }: Cadence): Record<string, number> {
  return by === 'steps' ? { [name]: (rest as { every: number }).every } : {}
}
