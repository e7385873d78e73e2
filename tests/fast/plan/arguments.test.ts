import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { parseArguments, PlanError, sft, toArguments, type MeshPlan, type Secret } from 'fettle'

const base = { model_name_or_path: 'm', dataset_name_or_path: './data', output_dir: 'out', do_train: true }
const planOf = (extra: Record<string, unknown>) => parseArguments({ ...base, ...extra }).plan
const refused = (call: () => unknown, code: string, ...parts: RegExp[]) =>
  assert.throws(call, (error) => {
    assert.ok(error instanceof PlanError, String(error))
    assert.equal(error.code, code, error.message)
    for (const part of parts) assert.match(error.message, part)
    return true
  })

test("defaults are the reference's", () => {
  const { plan, notes } = parseArguments(base)
  assert.deepEqual(notes, [])
  assert.deepEqual(plan, {
    version: 1, model: 'm', method: 'sft', lora: null, prefix: null, quantize: null, neftune: null,
    data: { path: './data', srcLength: 1024, maxLength: 2048, template: 'auto', system: null, packing: false, lazy: false, shuffleBuffer: 10_000, seed: null, dropLast: false },
    precision: 'fp32', fp16: { level: 'O1', lossScale: 32768 }, recompute: 'none', device: 'auto', blocks: 'auto',
    optimizer: { learningRate: 5e-5, weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 },
    schedule: { type: 'linear', warmupSteps: 0, warmupRatio: 0, cycles: 0.5, endRate: 1e-7, power: 1 }, batch: { size: 8, evalSize: 8, accumulate: 1, tokens: null }, epochs: 3, steps: null,
    evaluate: { by: 'no' },
    evaluation: { generate: false, saveOutput: false, generation: { maxNewTokens: 1024, minNewTokens: 0, temperature: 0, topK: 1, topP: 1, seed: 0, stop: [] } },
    best: { metric: null, greaterIsBetter: null, load: false, patience: null, minDelta: 0 },
    sample: { cadence: { by: 'no' }, prompts: [], generation: { maxNewTokens: 1024, minNewTokens: 0, temperature: 0, topK: 1, topP: 1, seed: 0, stop: [] } },
    save: { cadence: { by: 'no' }, keep: null }, upload: null, logEvery: 500, train: true, evalAtEnd: false, seed: 42, output: 'out', overwrite: false,
    resume: null, resumeData: 'continue', mesh: { dp: 1, sharding: { degree: 1, stage: 0 }, pp: 1, virtual: 1, tp: 1, sequenceParallel: false, devices: null }, deterministic: false, cudaGraphs: false, restart: 0, threads: null, progress: true, report: [], predict: false,
  })
})

test('an example file in its one-rank form becomes its plan', () => {
  const { plan, notes } = parseArguments({
    model_name_or_path: 'meta-llama/Llama-2-7b-chat', dataset_name_or_path: './data', output_dir: './checkpoints/llama_lora_ckpts', per_device_train_batch_size: 4,
    gradient_accumulation_steps: 4, per_device_eval_batch_size: 8, eval_accumulation_steps: 16, num_train_epochs: 3, learning_rate: 3e-4, warmup_steps: 30,
    logging_steps: 1, evaluation_strategy: 'epoch', save_strategy: 'epoch', src_length: 1024, max_length: 2048, bf16: true, fp16_opt_level: 'O2', do_train: true,
    do_eval: true, disable_tqdm: true, eval_with_do_generation: false, metric_for_best_model: 'accuracy', save_total_limit: 1, tensor_parallel_degree: 1,
    pipeline_parallel_degree: 1, lora: true, zero_padding: false, use_flash_attention: true,
  })
  assert.equal(plan.method, 'lora')
  assert.deepEqual(plan.lora, { rank: 8, alpha: 16, dropout: 0, targets: 'all-linear', rsLora: false, dora: false, pissa: false, plusRatio: 1, rankPattern: {}, alphaPattern: {}, from: null })
  assert.deepEqual([plan.precision, plan.evaluate, plan.save, plan.evalAtEnd, plan.schedule.warmupSteps], ['bf16', { by: 'epoch' }, { cadence: { by: 'epoch' }, keep: 1 }, true, 30])
  assert.deepEqual(notes.map((note) => note.split(' ')[0]).sort(), ['eval_accumulation_steps', 'fp16_opt_level', 'metric_for_best_model', 'use_flash_attention'])
})

test('a setting whose switch is off is a note', () => {
  const notes = (extra: Record<string, unknown>) => parseArguments({ ...base, ...extra }).notes
  assert.deepEqual(notes({ lora_rank: 4 }), ['lora_rank changes nothing: lora is false'])
  assert.deepEqual(notes({ warmup_steps: 5, warmup_ratio: 0.1, lr_scheduler_type: 'constant' }).map((note) => note.split(':')[0]), ['warmup_steps changes nothing', 'warmup_ratio changes nothing'])
  assert.deepEqual(notes({ eval_steps: 5 }), ['eval_steps changes nothing: evaluation_strategy is "no"'])
  for (const save_strategy of ['no', 'epoch']) assert.deepEqual(notes({ save_steps: 5, save_strategy }), [`save_steps changes nothing: save_strategy is "${save_strategy}"`])
  const idle: [Record<string, unknown>, string, RegExp][] = [
    [{ neftune_noise_alpha: 3 }, 'neftune_noise_alpha', /neftune is false/], [{ shuffle_buffer: 3 }, 'shuffle_buffer', /lazy is false/], [{ fp16_opt_level: 'O2', bf16: true }, 'fp16_opt_level', /fp16 is false/],
    [{ scale_loss: 3 }, 'scale_loss', /fp16 is false/], [{ recompute_granularity: 'full_attn' }, 'recompute_granularity', /recompute is false/], [{ num_cycles: 2 }, 'num_cycles', /lr_scheduler_type is "linear"/],
    [{ power: 2 }, 'power', /lr_scheduler_type is "linear"/], [{ lr_end: 0, lr_scheduler_type: 'cosine' }, 'lr_end', /"cosine"/], [{ save_generation_output: false, metric_for_best_model: 'accuracy' }, 'metric_for_best_model', /load_best_model_at_end is false/],
    [{ lora: true, lora_path: 'a', lora_rank: 4 }, 'lora_rank', /the adapter at lora_path has its own/], [{ lora_path: 'a' }, 'lora_path', /lora is false/], [{ rslora: true }, 'rslora', /lora is false/], [{ lora_plus_scale: 2 }, 'lora_plus_scale', /lora is false/],
    [{ save_total_limit: 2 }, 'save_total_limit', /save_strategy is "no"/], [{ num_prefix_tokens: 3 }, 'num_prefix_tokens', /prefix_tuning is false/], [{ ignore_data_skip: true }, 'ignore_data_skip', /resume_from_checkpoint is null/],
  ]
  for (const [extra, name, why] of idle) {
    const [note, ...more] = notes(extra)
    assert.deepEqual(more, [])
    assert.match(note, new RegExp(`^${name} changes nothing: `))
    assert.match(note, why)
  }
  assert.deepEqual(notes({ lora: true, lora_rank: 4, warmup_steps: 5, eval_steps: 5, evaluation_strategy: 'steps', save_strategy: 'steps', save_steps: 5 }), [])
})

test('plans go to arguments and back', () => {
  const builders = [
    sft('m').data('d'), sft('m').data('d', { maxLength: 64, system: 'S', template: 'none' }).lora({ rank: 4, alpha: 3, dropout: 0.1, targets: ['q_proj'] }).bf16().steps(20),
    sft('m').data('d').evaluate({ every: 7 }).sample({ each: 'epoch', prompts: ['a, b'], topK: 1, temperature: 0.5, stop: ['\n'] }).save({ each: 'never', keep: 3 }),
    sft('m').data('d').resume('out/checkpoint-5').overwrite().device('cuda').threads(2).blocks('plain').log({ every: 3 }).epochs(0.5),
    sft('m').data('d').tp(2).pp(2, { virtual: 2 }).sharding({ degree: 2 }).sequenceParallel().gpus([0, 1, 2, 3, 4, 5, 6, 7]).deterministic().cudaGraphs().restart(3), sft('m').data('d').dp(4),
    sft('m').data('d').device('cpu').resume().schedule('cosine', { warmupRatio: 0.2 }).sample({ every: 3, temperature: 0, topK: 40 }),
  ]
  for (const { plan } of builders) {
    assert.deepEqual(parseArguments(toArguments(plan)).plan, plan)
    assert.deepEqual(parseArguments(JSON.stringify(toArguments(plan))).plan, plan)
  }
})

test('cadences, and eval_steps that stands for logging_steps', () => {
  assert.deepEqual(planOf({ evaluation_strategy: 'steps', logging_steps: 5 }).evaluate, { by: 'steps', every: 5 })
  assert.deepEqual(planOf({ evaluation_strategy: 'steps', eval_steps: 9 }).evaluate, { by: 'steps', every: 9 })
  assert.equal(planOf({ evaluation_strategy: 'epoch' }).evalAtEnd, true)
  assert.deepEqual(planOf({ save_strategy: 'no' }).save.cadence, { by: 'no' })
  assert.equal(planOf({ max_steps: 10 }).steps, 10)
  assert.deepEqual([planOf({ top_k: 50 }).sample.generation.temperature, planOf({ top_k: 1 }).sample.generation.temperature], [1, 0])
  assert.equal(parseArguments({ ...base, do_train: false, do_eval: true }).plan.train, false)
})

test('overrides win and are read by the type of their field', () => {
  const { plan } = parseArguments({ ...base, lora: false, learning_rate: 1e-5 }, {
    lora: 'true', learning_rate: '3e-4', 'max-steps': '7', resume_from_checkpoint: 'true', save_total_limit: 'null', lora_target_modules: 'q_proj, v_proj', chat_template: 'none',
  })
  assert.deepEqual([plan.lora?.targets, plan.optimizer.learningRate, plan.steps, plan.resume, plan.save.keep, plan.data.template], [['q_proj', 'v_proj'], 3e-4, 7, true, null, 'none'])
  refused(() => parseArguments(base, { lora_rank: 'eight' }), 'plan.value', /for --lora_rank, got "eight"; try --lora_rank 8/)
  refused(() => parseArguments(base, { lora: 'maybe' }), 'plan.value', /true or false for --lora/)
  refused(() => parseArguments(base, { dataset_name_or_path: 'a', task_name_or_path: 'b' }), 'plan.conflict')
})

test('wrong values say file, line, column and what to write', () => {
  const text = '{\n  "model_name_or_path": "m",\n  "learning_rate": "3e-05",\n  "output_dir": "o"\n}'
  refused(() => parseArguments(text, {}, 'sft.json'), 'plan.value', /^sft\.json:3:3: expected a number above 0 for learning_rate, got "3e-05"; try "learning_rate": 0\.00003$/)
  refused(() => parseArguments('{"lora_rnk": 8}', {}, 'a.json'), 'plan.unknown', /^a\.json:1:2: expected a known argument, got "lora_rnk"; try lora_rank$/)
  refused(() => planOf({ save_strategy: 'epochs' }), 'plan.value', /"no", "steps" or "epoch"/)
  refused(() => planOf({ max_steps: 0 }), 'plan.value', /-1 \(as epochs say\)/)
  refused(() => planOf({ src_length: 2048 }), 'plan.value', /less than max_length \(2048\).*"src_length": 1024/)
  refused(() => parseArguments({ do_train: true }), 'plan.value', /model_name_or_path/)
  refused(() => parseArguments({ ...base, output_dir: null }), 'plan.value', /output_dir/)
})

test('broken JSON is placed', () => {
  const at = (text: string, place: string, pattern: RegExp) => refused(() => parseArguments(text, {}, 'f.json'), 'plan.json', new RegExp(`^f\\.json:${place}: `), pattern)
  at('', '1:1', /a \{ that begins/)
  at('[1]', '1:1', /a \{/)
  at('{\n  "a": 1,\n}', '3:1', /no comma before \}/)
  at('{"a": 1 "b": 2}', '1:9', /a , or \}/)
  at('{"a": True}', '1:7', /true \(JSON, not Python\)/)
  at("{'a': 1}", '1:2', /double quotes/)
  at('{"a": 1} x', '1:10', /the end of the file/)
  at('{"a": 1', '1:8', /got the end of the file/)
  at('{"a": "x\ny"}', '1:9', /closing "/)
  at('{"a": "C:\\dir"}', '1:10', /valid escape/)
  at('{"a": 1, "a": 2}', '1:10', /each name once/)
  at('{ // no\n}', '1:3', /no comment/)
  at('{"a": 01}', '1:7', /a value/)
  at('{"a": NaN}', '1:7', /finite/)
})

test('a byte-order mark and CRLF do no harm', () => {
  assert.equal(parseArguments(`\uFEFF${JSON.stringify(base, null, 2).replace(/\n/g, '\r\n')}`).plan.model, 'm')
})

test('contradictions name the way out', () => {
  const conflicts: [Record<string, unknown>, RegExp][] = [
    [{ bf16: true, fp16: true }, /bf16 and fp16 are both true.*"fp16": false/], [{ lora: true, prefix_tuning: true }, /one method/], [{ lora: true, pissa: true, lora_path: 'a' }, /"pissa": false/],
    [{ load_best_model_at_end: true, evaluation_strategy: 'epoch' }, /evaluation_strategy is "epoch" and save_strategy "no"/],
    [{ load_best_model_at_end: true, evaluation_strategy: 'steps', eval_steps: 30, save_strategy: 'steps', save_steps: 50 }, /multiple of eval_steps, but they are 50 and 30/],
    [{ lazy: true }, /"max_steps": 1000/], [{ intokens: true, eval_with_do_generation: true }, /"intokens": false/],
    [{ zero_padding: true, eval_with_do_generation: true }, /"intokens": false/], [{ early_stopping_patience: 2 }, /evaluation_strategy is "no"; try "evaluation_strategy": "epoch"/],
    [{ load_best_model_at_end: true, evaluation_strategy: 'no', save_strategy: 'no' }, /needs evaluations/], [{ lr_scheduler_type: 'polynomial', lr_end: 1 }, /lr_end/], [{ do_train: false }, /nothing to do/],
  ]
  for (const [extra, pattern] of conflicts) refused(() => planOf(extra), 'plan.conflict', pattern)
})

test('what is not there yet is refused by name, all of it at once', () => {
  refused(() => planOf({ sharding: 'stage2 offload', optim: 'sgd' }), 'plan.notYet', /sharding "stage2 offload" is not there yet; leave offload out/, /optim "sgd" is not there yet/)
  for (const [name, value] of Object.entries({ optim: 'sgd', sharding: 'offload' })) {
    refused(() => planOf({ [name]: value }), 'plan.notYet', new RegExp(`${name} .*not there yet`))
  }
  assert.doesNotThrow(() => planOf({ fp16: false, recompute: false, neftune_noise_alpha: 5.0, tensor_parallel_degree: -1, sharding: '' }))
})

test('hubs: models of AI Studio, uploads, the built-in data set', () => {
  assert.equal(planOf({ model_name_or_path: 'PaddleNLP/m', from_aistudio: true }).model, 'aistudio:PaddleNLP/m')
  assert.deepEqual(planOf({ save_to_aistudio: true, aistudio_repo_id: 'me/first' }).upload, { to: 'aistudio', repository: 'me/first', private: true, license: 'Apache License 2.0' })
  assert.deepEqual(planOf({ push_to_hub: true, hub_model_id: 'me/first', hub_private_repo: false, hub_license: 'mit' }).upload, { to: 'huggingface', repository: 'me/first', private: false, license: 'mit' })
  assert.equal(planOf({ dataset_name_or_path: 'AdvertiseGen' }).data.path, 'AdvertiseGen')
  const { dataset_name_or_path: _, ...withoutData } = base
  assert.equal(parseArguments({ ...withoutData, task_name: 'AdvertiseGen' }).plan.data.path, 'AdvertiseGen')
  refused(() => planOf({ task_name: 'AdvertiseGen' }), 'plan.conflict', /built-in data set AdvertiseGen while dataset_name_or_path is ".\/data"/)
  refused(() => parseArguments({ ...withoutData, task_name: 'advertise' }), 'plan.value', /AdvertiseGen/)
  refused(() => planOf({ save_to_aistudio: true }), 'plan.conflict', /aistudio_repo_id/)
  refused(() => planOf({ push_to_hub: true }), 'plan.conflict', /hub_model_id/)
  refused(() => planOf({ save_to_aistudio: true, aistudio_repo_id: 'me/a', push_to_hub: true, hub_model_id: 'me/a' }), 'plan.conflict', /fettle upload/)
  for (const repository of ['first', 'a/b/c', '../b', 'a b/c']) refused(() => planOf({ save_to_aistudio: true, aistudio_repo_id: repository }), 'plan.value', /OWNER\/NAME/)
  assert.deepEqual(parseArguments({ ...base, aistudio_repo_private: false, hub_license: 'mit' }).notes, ['aistudio_repo_private changes nothing: save_to_aistudio is false', 'hub_license changes nothing: push_to_hub is false'])
})

test('a token is in no plan, file, note or message', () => {
  const { plan, notes, tokens } = parseArguments({ ...base, aistudio_token: 's3cret' }, { hub_token: 's3cret' })
  assert.deepEqual([(tokens.aistudio as Secret).reveal(), (tokens.huggingface as Secret).reveal()], ['s3cret', 's3cret'])
  for (const text of [JSON.stringify({ plan, notes, tokens }), inspect({ plan, notes, tokens }, { depth: 9, showHidden: true }), String(tokens.aistudio), JSON.stringify(toArguments(plan))]) assert.doesNotMatch(text, /s3cret/)
  const messages: (() => unknown)[] = [
    () => parseArguments({ ...base, aistudio_token: ['s3cret'] }), () => parseArguments({ ...base, aistudio_token: { a: 's3cret' } }),
    () => parseArguments('{"aistudio_token": s3cret}'), () => parseArguments('{"aistudio_token": "s3cret}'), () => parseArguments('{"hub_token": "a"s3cret}'), () => parseArguments('{"hub_token": "\\s3cret"}'),
    () => parseArguments({ ...base, hub_token: 's3cret', 'hub-token': 's3cret2' }), () => parseArguments({ ...base, bf16: true, fp16: true, hub_token: 's3cret' }),
  ]
  for (const call of messages) {
    assert.throws(call, (error) => {
      assert.ok(error instanceof PlanError)
      assert.doesNotMatch(JSON.stringify(error) + error.message, /s3cret/)
      return true
    })
  }
})

test('degrees and ranks: what is left open is what the ranks leave', () => {
  const one = planOf({}).mesh
  const cases: [Record<string, unknown>, Partial<MeshPlan>][] = [
    [{ tensor_parallel_degree: 4 }, { tp: 4 }], [{ tensor_parallel_degree: 2, pipeline_parallel_degree: 2 }, { tp: 2, pp: 2 }], [{ tensor_parallel_degree: 2, ranks: 8 }, { tp: 2, dp: 4 }],
    [{ ranks: 4 }, { dp: 4 }], [{ gpus: [2, 3] }, { dp: 2, devices: [2, 3] }], [{ gpus: [0, 1, 2, 3], tensor_parallel_degree: 2, ranks: 4 }, { tp: 2, dp: 2, devices: [0, 1, 2, 3] }],
    [{ sharding: 'stage2', ranks: 4 }, { sharding: { degree: 4, stage: 2 } }], [{ sharding: 'stage3', ranks: 8, tensor_parallel_degree: 2, sharding_parallel_degree: 2 }, { tp: 2, sharding: { degree: 2, stage: 3 }, dp: 2 }],
    [{ sharding: 'stage1', ranks: 8, data_parallel_degree: 2 }, { dp: 2, sharding: { degree: 4, stage: 1 } }], [{ sharding: 'stage1' }, {}], [{ sharding: 'stage3', sharding_parallel_degree: 1 }, {}], [{ sharding_parallel_degree: 4 }, {}],
    [{ data_parallel_degree: 3, pipeline_parallel_degree: 2, virtual_pp_degree: 2 }, { dp: 3, pp: 2, virtual: 2 }], [{ virtual_pp_degree: 2 }, {}], [{ sequence_parallel: true, tensor_parallel_degree: 2 }, { tp: 2, sequenceParallel: true }],
    [{ tensor_parallel_degree: 1, pipeline_parallel_degree: 1, sharding_parallel_degree: 1, ranks: 1 }, {}],
  ]
  for (const [extra, mesh] of cases) assert.deepEqual(planOf(extra).mesh, { ...one, ...mesh }, JSON.stringify(extra))
  assert.deepEqual(parseArguments(base, { gpus: '0,1', ranks: '2' }).plan.mesh, { ...one, dp: 2, devices: [0, 1] })
  refused(() => planOf({ ranks: 6, tensor_parallel_degree: 4 }), 'mesh.ranks', /^ranks is 6, which tensor_parallel_degree 4 does not divide; try 4 or 8 ranks, or degrees that divide 6$/)
  refused(() => planOf({ gpus: [0, 1], tensor_parallel_degree: 4 }), 'mesh.ranks', /^gpus names 2 ranks, which tensor_parallel_degree 4 does not divide; try 4 ranks, or degrees that divide 2$/)
  refused(() => planOf({ ranks: 4, data_parallel_degree: 2 }), 'mesh.ranks', /data_parallel_degree 2 does not multiply to; try 2 ranks/)
  refused(() => planOf({ ranks: 3, gpus: [0, 1] }), 'plan.conflict', /gpus names 2 and ranks says 3/)
  refused(() => parseArguments('{"ranks": 3,\n "sharding": "stage1", "sharding_parallel_degree": 2}', { ...base }, 'a.json'), 'mesh.ranks', /^a\.json:1:2: ranks is 3, which sharding_parallel_degree 2/)
  refused(() => parseArguments(base, { gpus: 'all' }), 'plan.value', /numbers of GPUs.* for --gpus, got "all"; try --gpus 0,1$/)
})

test('what a mesh makes idle is a note, and words of its configurations are known ones', () => {
  const notes = (extra: Record<string, unknown>) => parseArguments({ ...base, ...extra }).notes
  assert.deepEqual(notes({ sharding: 'stage2' }), ['sharding changes nothing: one rank has nothing to share'])
  assert.deepEqual(notes({ sharding_parallel_degree: 4 }), ['sharding_parallel_degree changes nothing: sharding is ""'])
  assert.deepEqual(notes({ sharding_parallel_degree: 1, tensor_parallel_degree: 1, pipeline_parallel_degree: 1 }), [])
  assert.match(notes({ sequence_parallel: true })[0], /^sequence_parallel changes nothing: .*tensor_parallel_degree is not above 1$/)
  assert.match(notes({ virtual_pp_degree: 2 })[0], /^virtual_pp_degree changes nothing: /)
  assert.deepEqual(notes({ sequence_parallel: true, tensor_parallel_degree: 2, lazy: true, max_steps: 5, pipeline_parallel_degree: 2, virtual_pp_degree: 2, sharding: 'stage1', sharding_parallel_degree: 2 }), [])
  assert.deepEqual(notes({ pipeline_parallel_config: 'disable_p2p_cache_shape enable_timer', tensor_parallel_config: 'enable_mp_async_allreduce,sync_param', sharding_parallel_config: 'enable_stage1_overlap' }).map((note) => note.split(' changes nothing: ')[0]),
    ['tensor_parallel_config', 'pipeline_parallel_config', 'sharding_parallel_config'])
  refused(() => planOf({ pipeline_parallel_config: 'disable_p2p_cache_shap' }), 'plan.unknown', /word of pipeline_parallel_config, got "disable_p2p_cache_shap"; try disable_p2p_cache_shape$/)
  refused(() => planOf({ sharding_parallel_config: 'enable_stage1_overlap, zzz' }), 'plan.unknown', /got "zzz"; try one of enable_stage1_tensor_fusion/)
  refused(() => parseArguments(base, { sharding: 'stage9' }), 'plan.value', /expected stage1, stage2 or stage3.* for --sharding, got "stage9"; try --sharding stage1$/)
})
