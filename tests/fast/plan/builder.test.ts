import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlanError, sft } from 'fettle'

const refused = (call: () => unknown, code: string, ...parts: RegExp[]) =>
  assert.throws(call, (error) => {
    assert.ok(error instanceof PlanError, String(error))
    assert.equal(error.code, code, error.message)
    for (const part of parts) assert.match(error.message, part)
    return true
  })
// What a JavaScript user may write and TypeScript would refuse.
const any = (value: unknown) => value as never

test('each call gives a new frozen builder and leaves the old one alone', () => {
  const base = sft('org/model').data('data')
  const tuned = base.lora({ rank: 4 }).learningRate(1e-4)
  assert.equal(base.plan.lora, null)
  assert.equal(tuned.plan.lora?.rank, 4)
  assert.ok(Object.isFrozen(tuned) && Object.isFrozen(tuned.plan) && Object.isFrozen(tuned.plan.sample.generation.stop))
  assert.throws(() => { (tuned.plan.batch as { size: number }).size = 3 }, TypeError)
})

test('a plan is plain JSON', () => {
  const { plan } = sft('org/model').data('data').lora().sample({ every: 5, prompts: ['a'] })
  assert.deepEqual(JSON.parse(JSON.stringify(plan)), plan)
})

test('every method reaches its field', () => {
  const { plan } = sft('m').data('d', { srcLength: 100, maxLength: 200, template: 'none', system: 'S' })
    .lora({ rank: 4, dropout: 0.1, targets: ['q_proj'] }).bf16().learningRate(1e-4).weightDecay(0.1).maxGradNorm(2)
    .adam({ beta1: 0.8, beta2: 0.95, epsilon: 1e-6 }).schedule('cosine', { warmupRatio: 0.1 }).steps(200).batch(2, 4).accumulate(3)
    .evaluate({ every: 50 }).sample({ each: 'epoch', prompts: ['p'], topK: 5, temperature: 1, maxNewTokens: 7 }).save({ every: 25, keep: null })
    .output('out').overwrite().seed(7).device('cpu').threads(1).blocks('plain').log({ every: 10 }).tp(1).pp(1).dp(1).sharding({ degree: 1 }).sequenceParallel(false).gpus(null).deterministic(false).cudaGraphs(false).restart(0)
    .upload('me/first', { to: 'aistudio', private: false }).quantize('fp4', { blockSize: 32, doubleQuant: true })
  assert.deepEqual(plan, {
    version: 1, model: 'm', method: 'lora', lora: { rank: 4, alpha: 8, dropout: 0.1, targets: ['q_proj'], rsLora: false, dora: false, pissa: false, plusRatio: 1, rankPattern: {}, alphaPattern: {}, from: null }, prefix: null, quantize: { algorithm: 'fp4', blockSize: 32, doubleQuant: true, doubleQuantBlockSize: 256 }, neftune: null,
    data: { path: 'd', srcLength: 100, maxLength: 200, template: 'none', system: 'S', packing: false, lazy: false, shuffleBuffer: 10_000, seed: null, dropLast: false }, precision: 'bf16', fp16: { level: 'O1', lossScale: 32768 }, recompute: 'none', device: 'cpu', blocks: 'plain',
    optimizer: { learningRate: 1e-4, weightDecay: 0.1, beta1: 0.8, beta2: 0.95, epsilon: 1e-6, maxGradNorm: 2 },
    schedule: { type: 'cosine', warmupSteps: 0, warmupRatio: 0.1, cycles: 0.5, endRate: 1e-7, power: 1 }, batch: { size: 2, evalSize: 4, accumulate: 3, tokens: null }, epochs: 3, steps: 200,
    evaluate: { by: 'steps', every: 50 },
    evaluation: { generate: false, saveOutput: false, generation: { maxNewTokens: 100, minNewTokens: 0, temperature: 0, topK: 0, topP: 1, seed: 0, stop: [] } },
    best: { metric: null, greaterIsBetter: null, load: false, patience: null, minDelta: 0 },
    sample: { cadence: { by: 'epoch' }, prompts: ['p'], generation: { maxNewTokens: 7, minNewTokens: 0, temperature: 1, topK: 5, topP: 1, seed: 0, stop: [] } },
    save: { cadence: { by: 'steps', every: 25 }, keep: null }, upload: { to: 'aistudio', repository: 'me/first', private: false, license: 'Apache License 2.0' }, logEvery: 10, train: true, evalAtEnd: true, seed: 7, output: 'out', overwrite: true,
    resume: null, resumeData: 'continue', mesh: { dp: 1, sharding: { degree: 1, stage: 0 }, pp: 1, virtual: 1, tp: 1, sequenceParallel: false, devices: null }, deterministic: false, cudaGraphs: false, restart: 0, threads: 1, progress: true, report: [], predict: false,
  })
})

test('defaults follow the method, the lengths and the model', () => {
  assert.equal(sft('a/B-1.5').plan.optimizer.learningRate, 3e-5)
  assert.equal(sft('a/B-1.5').lora().plan.optimizer.learningRate, 3e-4)
  assert.equal(sft('a/b').learningRate(1).lora().plan.optimizer.learningRate, 1)
  assert.equal(sft('a/b').data('d', { maxLength: 100 }).plan.data.srcLength, 50)
  assert.equal(sft('a/B-1.5').lora().plan.output, 'output/B-1.5-lora')
  assert.equal(sft('builtin:smollm2-135m').plan.output, 'output/smollm2-135m-sft')
  assert.equal(sft('/m/x.Q4_1.gguf').plan.output, 'output/x.Q4_1-sft')
  assert.equal(sft('..').plan.output, 'output/model-sft')
  assert.equal(sft('m').epochs(2).steps(5).epochs(4).plan.steps, null)
  assert.equal(sft('m').bf16().fp32().plan.precision, 'fp32')
  assert.deepEqual(sft('m').save({ keep: 5 }).plan.save, { cadence: { by: 'epoch' }, keep: 5 })
  assert.deepEqual(sft('m').save({ each: 'never' }).plan.save.cadence, { by: 'no' })
  assert.equal(sft('m').resume().plan.resume, true)
  assert.deepEqual(sft('m').warmup(5).schedule('linear', { warmupRatio: 0.5 }).plan.schedule, { type: 'linear', warmupSteps: 0, warmupRatio: 0.5, cycles: 0.5, endRate: 1e-7, power: 1 })
})

test('a wrong value is refused at the call with what to write', () => {
  const b = sft('m')
  refused(() => sft(''), 'plan.value', /expected a model name .* for \.sft\(\), got ""; try/)
  for (const model of [undefined, null, 5, {}]) refused(() => sft(any(model)), 'plan.value', /expected a model name .* for \.sft\(\), got .*; try/)
  refused(() => b.bf16(...any([false]) as []), 'plan.value', /^expected nothing for \.bf16\(\), got false; try \.bf16\(\), or \.fp32\(\)/)
  refused(() => b.fp32(...any(['x']) as []), 'plan.value', /^expected nothing for \.fp32\(\), got "x"/)
  refused(() => b.lora({ rank: 0 }), 'plan.value', /^expected a whole number from 1 to 65536 for rank of \.lora\(\), got 0; try \.lora\(\{ rank: 8 \}\)$/)
  refused(() => b.lora({ rank: 2.5 }), 'plan.value', /got 2\.5/)
  refused(() => b.lora({ dropout: 1 }), 'plan.value', /below 1 for dropout/)
  refused(() => b.lora({ targets: [] }), 'plan.value', /'q_proj', 'v_proj'/)
  refused(() => b.learningRate(NaN), 'plan.value', /got NaN; try \.learningRate\(0\.0001\)/)
  refused(() => b.learningRate(any('1e-4')), 'plan.value', /got "1e-4"/)
  refused(() => b.epochs(0), 'plan.value', /above 0/)
  refused(() => b.steps(any(null)), 'plan.value')
  refused(() => b.batch(0), 'plan.value')
  refused(() => b.schedule(any('cosin')), 'plan.value', /"constant_with_warmup" or "polynomial"/)
  refused(() => b.data(any(undefined)), 'plan.value', /got nothing/)
  refused(() => b.data('d', { srcLength: 500, maxLength: 500 }), 'plan.value', /less than maxLength \(500\)/)
  refused(() => b.evaluate(any({})), 'plan.value', /every or each/)
  refused(() => b.evaluate(any({ every: 5, each: 'epoch' })), 'plan.conflict')
  refused(() => b.evaluate(any(5)), 'plan.value', /an object of options/)
  refused(() => b.sample({ every: 5, minNewTokens: 9, maxNewTokens: 8 }), 'plan.value', /at most maxNewTokens/)
  refused(() => b.sample({ every: 5, prompts: any('one') }), 'plan.value', /a list of prompts/)
  refused(() => b.device(any('tpu')), 'plan.value')
  refused(() => b.resume(any(false)), 'plan.value')
})

test('unknown options name the nearest', () => {
  refused(() => sft('m').lora(any({ rnk: 8 })), 'plan.unknown', /got "rnk"; try rank$/)
  refused(() => sft('m').data('d', any({ src_length: 8 })), 'plan.unknown', /try srcLength/)
  refused(() => sft('m').sample(any({ every: 1, max_new_tokens: 8 })), 'plan.unknown', /try maxNewTokens/)
  refused(() => sft('m').save(any({ zzzzzzzz: 8 })), 'plan.unknown', /try one of every, each, keep/)
})

test('a mesh is said axis by axis', () => {
  const b = sft('m'), one = b.plan.mesh, mesh = (builder: typeof b) => builder.plan.mesh
  assert.deepEqual(mesh(b.tp(2).pp(4).dp(3)), { ...one, tp: 2, pp: 4, dp: 3 })
  assert.deepEqual(mesh(b.pp(4, { virtual: 2 })), { ...one, pp: 4, virtual: 2 })
  assert.deepEqual(mesh(b.pp(4, { virtual: 2 }).pp(2)), { ...one, pp: 2 })
  assert.deepEqual(mesh(b.pp(1, { virtual: 2 })), one)
  assert.deepEqual(mesh(b.sharding({ degree: 4 })).sharding, { degree: 4, stage: 1 })
  assert.deepEqual(mesh(b.sharding({ stage: 3, degree: 2 })).sharding, { degree: 2, stage: 3 })
  assert.deepEqual(mesh(b.sharding({ stage: 3, degree: 2 }).sharding({ degree: 1 })), one)
  assert.deepEqual(mesh(b.tp(2).sequenceParallel()), { ...one, tp: 2, sequenceParallel: true })
  const numbers = [2, 3], named = b.tp(2).gpus(numbers)
  assert.deepEqual(mesh(named).devices, [2, 3])
  assert.ok(!Object.isFrozen(numbers))
  assert.deepEqual(mesh(named.gpus(null)).devices, null)
  assert.deepEqual([b.deterministic().plan.deterministic, b.plan.deterministic, b.restart(2).plan.restart, b.plan.restart], [true, false, 2, 0])
  for (const method of ['tp', 'pp', 'dp'] as const) refused(() => b[method](0), 'plan.value', new RegExp(`at least 1 for \\.${method}\\(\\), got 0; try \\.${method}\\(2\\)`))
  refused(() => b.sharding(any({ stage: 2 })), 'plan.value', /^expected a degree for \.sharding\(\), got \{"stage":2\}; try \.sharding\(\{ stage: 2, degree: 2 \}\)$/)
  refused(() => b.sharding({ stage: 0, degree: 2 }), 'plan.conflict', /stage 0, which shares nothing, and degree 2; try \.sharding\(\{ stage: 1, degree: 2 \}\), or \.dp\(2\)/)
  refused(() => b.sharding(any({ stage: 4, degree: 2 })), 'plan.value', /0, 1, 2 or 3 for stage/)
  refused(() => b.pp(2, any({ interleave: 2 })), 'plan.unknown', /virtual/)
  refused(() => b.gpus([0, 0]), 'plan.value', /each once, or null for \.gpus\(\), got \[0,0\]; try \.gpus\(\[0, 1\]\)/)
  refused(() => b.restart(-1), 'plan.value', /at least 0/)
})

test('start refuses a plan without data before it makes a folder', async () => {
  await assert.rejects(sft('m').output('/nonexistent/never').start(), (error) => error instanceof PlanError && error.code === 'plan.noData')
})

test('the last warm-up that was said is the only one', () => {
  const { schedule: shape } = sft('m').plan
  const ratio = sft('m').schedule('cosine', { warmupRatio: 0.1 })
  assert.deepEqual(ratio.warmup(0).plan.schedule, { ...shape, type: 'cosine' })
  assert.deepEqual(ratio.schedule('linear', { warmupSteps: 5 }).plan.schedule, { ...shape, warmupSteps: 5 })
  assert.deepEqual(ratio.schedule('linear').plan.schedule, { ...shape, warmupRatio: 0.1 })
})

test('the LoRA family, prefix tuning and the other switches reach their fields', () => {
  const { plan } = sft('m').lora({ rank: 16, rsLora: true, dora: true, pissa: true, plusRatio: 16, rankPattern: { q_proj: 4 }, alphaPattern: { 'layers.0.*': 2 }, targets: '.*q_proj' })
  assert.deepEqual(plan.lora, { rank: 16, alpha: 4, dropout: 0, targets: '.*q_proj', rsLora: true, dora: true, pissa: true, plusRatio: 16, rankPattern: { q_proj: 4 }, alphaPattern: { 'layers.0.*': 2 }, from: null })
  assert.deepEqual(sft('m').lora({ from: 'a', dropout: 0.1, plusRatio: 2 }).plan.lora, { rank: 8, alpha: 16, dropout: 0.1, targets: 'all-linear', rsLora: false, dora: false, pissa: false, plusRatio: 2, rankPattern: {}, alphaPattern: {}, from: 'a' })
  refused(() => sft('m').lora({ from: 'a', rank: 4 }), 'plan.conflict', /rank beside from/)
  refused(() => sft('m').lora({ from: 'a', pissa: true }), 'plan.conflict', /pissa beside from/)
  refused(() => sft('m').lora({ targets: '(' }), 'plan.value', /a regular expression/)
  refused(() => sft('m').lora({ rankPattern: any({ q_proj: 1.5 }) }), 'plan.value', /whole numbers/)
  refused(() => sft('m').lora({ alphaPattern: any({ '(': 1 }) }), 'plan.value', /regular expression/)
})
