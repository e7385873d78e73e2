import { aiStudioPrefix } from '../../models/hub/names'
import type { Cadence, GenerationPlan, Plan } from '../plan'

/** The argument file of a plan: `parseArguments` of it gives the same plan back. */
export function toArguments(plan: Plan): Record<string, unknown> {
  const { data, optimizer, schedule, batch, sample, save, best, evaluation } = plan
  return {
    ...modelArguments(plan), ...methodArguments(plan),
    neftune: plan.neftune !== null, ...(plan.neftune === null ? {} : { neftune_noise_alpha: plan.neftune }),
    dataset_name_or_path: data.path, src_length: data.srcLength, max_length: data.maxLength, chat_template: data.template === 'auto' ? null : data.template, system: data.system,
    intokens: data.packing, lazy: data.lazy, shuffle_buffer: data.shuffleBuffer, data_seed: data.seed, dataloader_drop_last: data.dropLast,
    output_dir: plan.output, overwrite_output_dir: plan.overwrite, resume_from_checkpoint: plan.resume, ignore_data_skip: plan.resumeData === 'restart', do_train: plan.train, do_eval: plan.evalAtEnd, do_predict: plan.predict,
    evaluation_strategy: plan.evaluate.by, ...every('eval_steps', plan.evaluate),
    eval_with_do_generation: evaluation.generate, save_generation_output: evaluation.saveOutput,
    load_best_model_at_end: best.load, metric_for_best_model: best.metric, greater_is_better: best.greaterIsBetter,
    early_stopping_patience: best.patience, early_stopping_threshold: best.minDelta,
    save_strategy: save.cadence.by, ...every('save_steps', save.cadence), save_total_limit: save.keep, ...quantizeArguments(plan), ...uploadArguments(plan),
    per_device_train_batch_size: batch.size, per_device_eval_batch_size: batch.evalSize, gradient_accumulation_steps: batch.accumulate, per_device_train_batch_tokens: batch.tokens,
    learning_rate: optimizer.learningRate, weight_decay: optimizer.weightDecay, adam_beta1: optimizer.beta1, adam_beta2: optimizer.beta2,
    adam_epsilon: optimizer.epsilon, max_grad_norm: optimizer.maxGradNorm,
    lr_scheduler_type: schedule.type, warmup_steps: schedule.warmupSteps, warmup_ratio: schedule.warmupRatio,
    num_cycles: schedule.cycles, lr_end: schedule.endRate, power: schedule.power,
    num_train_epochs: plan.epochs, max_steps: plan.steps ?? -1, logging_steps: plan.logEvery, seed: plan.seed,
    bf16: plan.precision === 'bf16', fp16: plan.precision === 'fp16', fp16_opt_level: plan.fp16.level, scale_loss: plan.fp16.lossScale,
    recompute: plan.recompute !== 'none', ...(plan.recompute === 'none' ? {} : { recompute_granularity: plan.recompute }),
    device: plan.device === 'auto' ? 'gpu' : plan.device, blocks: plan.blocks, threads: plan.threads, disable_tqdm: plan.progress ? null : true,
    ...meshArguments(plan), deterministic: plan.deterministic, cuda_graphs: plan.cudaGraphs, restart: plan.restart,
    report_to: plan.report.length === 0 ? ['visualdl'] : plan.report,
    sample_strategy: sample.cadence.by, ...every('sample_steps', sample.cadence), sample_prompts: sample.prompts,
    ...generationArguments(evaluation.generation), ...sampleArguments(evaluation.generation, sample.generation),
  }
}

/** The model, and the hub that it is of. */
function modelArguments({ model }: Plan): Record<string, unknown> {
  if (!model.startsWith(aiStudioPrefix)) return { model_name_or_path: model }
  return { model_name_or_path: model.slice(aiStudioPrefix.length), from_aistudio: true }
}

/** Where the result goes; never with a token. */
function quantizeArguments({ quantize }: Plan): Record<string, unknown> {
  if (quantize === null) return {}
  return { weight_quantize_algo: quantize.algorithm, weight_blocksize: quantize.blockSize, weight_double_quant: quantize.doubleQuant, weight_double_quant_block_size: quantize.doubleQuantBlockSize }
}

function uploadArguments({ upload }: Plan): Record<string, unknown> {
  if (upload === null) return {}
  if (upload.to === 'huggingface') return { push_to_hub: true, hub_model_id: upload.repository, hub_private_repo: upload.private, hub_license: upload.license }
  return { save_to_aistudio: true, aistudio_repo_id: upload.repository, aistudio_repo_private: upload.private, aistudio_repo_license: upload.license }
}

/** What trains. */
function methodArguments({ lora, prefix }: Plan): Record<string, unknown> {
  if (prefix !== null) {
    return { lora: false, prefix_tuning: true, num_prefix_tokens: prefix.tokens, prefix_projection: prefix.projection, prefix_projection_hidden_size: prefix.projectionSize, prefix_path: prefix.from }
  }
  if (lora === null) return { lora: false }
  return {
    lora: true, lora_rank: lora.rank, lora_alpha: lora.alpha, lora_dropout: lora.dropout, lora_target_modules: lora.targets === 'all-linear' ? null : lora.targets,
    rslora: lora.rsLora, dora: lora.dora, pissa: lora.pissa, lora_plus_scale: lora.plusRatio, lora_rank_pattern: lora.rankPattern, lora_alpha_pattern: lora.alphaPattern, lora_path: lora.from,
  }
}

function meshArguments({ mesh: { dp, sharding, pp, virtual, tp, sequenceParallel, devices } }: Plan): Record<string, unknown> {
  return {
    tensor_parallel_degree: tp, pipeline_parallel_degree: pp, virtual_pp_degree: virtual, sharding: sharding.stage === 0 ? '' : `stage${sharding.stage}`,
    sharding_parallel_degree: sharding.degree, data_parallel_degree: dp, sequence_parallel: sequenceParallel, gpus: devices,
  }
}

function generationArguments(answers: GenerationPlan): Record<string, unknown> {
  return {
    top_k: answers.topK, top_p: answers.topP, temperature: answers.temperature, max_new_tokens: answers.maxNewTokens,
    min_new_tokens: answers.minNewTokens, generation_seed: answers.seed, stop: answers.stop,
  }
}

/** Where samples are answered in another way than evaluations. */
function sampleArguments(answers: GenerationPlan, samples: GenerationPlan): Record<string, unknown> {
  const common = generationArguments(answers)
  return Object.fromEntries(Object.entries(generationArguments(samples)).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(common[name])).map(([name, value]) => [`sample_${name}`, value]))
}

function every(name: string, { by, ...rest }: Cadence): Record<string, number> {
  return by === 'steps' ? { [name]: (rest as { every: number }).every } : {}
}
