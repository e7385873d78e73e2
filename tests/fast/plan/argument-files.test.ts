import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { parseArguments, toArguments, type MeshPlan, type Plan } from 'fettle'
import { planFrom } from 'fettle/dist/plan/arguments/convert'
import { fieldByName, fields } from 'fettle/dist/plan/arguments/fields'
import { Arguments } from 'fettle/dist/plan/arguments/read'
import { worldSize } from 'fettle/dist/parallel/mesh/mesh'
import { meshShape } from 'fettle/dist/parallel/mesh/shape'
import { defaultLora, defaultMesh, defaultPlan, defaultPrefix } from 'fettle/dist/plan/defaults'
import { fixture } from '../../support/paths'

type File = Record<string, unknown>
const families = { llama: 'facebook/llama-7b', chatglm2: 'THUDM/chatglm2-6b', opt: 'facebook/opt-125m', bloom: 'bigscience/bloomz-7b1-mt', chatglm: 'THUDM/chatglm-6b', qwen: 'qwen/qwen-7b' }
const read = (family: string, kind: string): File => JSON.parse(fs.readFileSync(fixture('arguments', family, `${kind}_argument.json`), 'utf8')) as File
/** The plan of arguments, also of what nothing carries out yet. */
function planned(file: File): Plan {
  const args = new Arguments()
  args.addFile(file, null)
  return planFrom(args)
}

/** The mesh that each example file asks for. */
function meshOf(family: string, kind: string): MeshPlan {
  if (kind === 'sft_pp') return { ...defaultMesh, tp: 2, pp: 2 }
  if (kind !== 'sft' || family === 'qwen') return defaultMesh
  if (family === 'chatglm2') return { ...defaultMesh, sharding: { degree: 4, stage: 3 } }
  return family === 'opt' ? { ...defaultMesh, sharding: { degree: 4, stage: 2 } } : { ...defaultMesh, tp: 4 }
}

/** The plan that each example file asks for. */
function expected(family: keyof typeof families, kind: string): Plan {
  const base = defaultPlan(families[family]), qwen = family === 'qwen', pp = kind === 'sft_pp'
  const lengths = pp ? { srcLength: 256, maxLength: 512 } : { srcLength: 1024, maxLength: 2048 }
  const generation = { maxNewTokens: lengths.maxLength - lengths.srcLength, minNewTokens: 0, temperature: 0, topK: 1, topP: 1, seed: 0, stop: [] }
  const method = kind === 'lora' ? { method: 'lora', lora: defaultLora } as const : kind === 'pt' ? { method: 'prefix', prefix: defaultPrefix } as const : {}
  return {
    ...base, ...method, data: { ...base.data, path: './data', ...lengths }, precision: qwen ? 'bf16' : 'fp16', fp16: { level: qwen ? 'O1' : 'O2', lossScale: 32768 }, recompute: 'full',
    optimizer: { ...base.optimizer, learningRate: kind === 'lora' ? 3e-4 : kind === 'pt' ? 3e-2 : 3e-5 }, schedule: { ...base.schedule, warmupSteps: 30 },
    batch: { size: pp || (qwen && kind === 'sft') ? 1 : 4, evalSize: 8, accumulate: pp ? 8 : 4, tokens: null }, epochs: 3,
    evaluate: { by: 'epoch' }, evaluation: { generate: false, saveOutput: false, generation }, best: { ...base.best, load: true, metric: pp ? null : 'accuracy' },
    sample: { ...base.sample, generation }, save: { cadence: { by: 'epoch' }, keep: 1 }, mesh: meshOf(family, kind), evalAtEnd: true, progress: false, output: `./checkpoints/${family}_${kind}_ckpts`,
  }
}

for (const [family] of Object.entries(families) as [keyof typeof families, string][])
  for (const kind of fs.readdirSync(fixture('arguments', family)).map((name) => name.replace('_argument.json', '')))
    test(`${family}/${kind}_argument.json becomes its plan, unchanged`, () => {
      const { plan } = parseArguments(read(family, kind))
      assert.deepEqual(plan, expected(family, kind))
      assert.deepEqual(parseArguments(toArguments(plan)).plan, plan)
      const doubled = parseArguments(read(family, kind), { ranks: 2 * worldSize(meshShape(plan.mesh)) }).plan.mesh
      assert.deepEqual(doubled, { ...plan.mesh, dp: 2 })
    })

test('every field of the reference is known, with its default', () => {
  const listed = fs.readFileSync(path.join(fixture('arguments'), 'defaults.json'), 'utf8')
  for (const [name, initial] of Object.entries(JSON.parse(listed) as File)) {
    assert.ok(fieldByName.has(name), name)
    assert.deepEqual(fieldByName.get(name)!.default, initial, name)
  }
})

test('each field of a plan goes to an argument file and back, alone and together', () => {
  const base: Plan = { ...defaultPlan('m'), data: { ...defaultPlan('m').data, path: 'd' } }
  const generation = { maxNewTokens: 7, minNewTokens: 2, temperature: 0.5, topK: 3, topP: 0.9, seed: 4, stop: ['\n'] }
  const changes: Partial<Plan>[] = [
    { method: 'lora', lora: { rank: 4, alpha: 3, dropout: 0.1, targets: ['q_proj', 'layers.0.*'], rsLora: true, dora: true, pissa: true, plusRatio: 16, rankPattern: { q_proj: 2 }, alphaPattern: { '.*v_proj': 1.5 }, from: null } },
    { method: 'lora', lora: { ...defaultLora, targets: '.*\\.(q|v)_proj', from: 'adapter' } },
    { method: 'prefix', prefix: { tokens: 5, projection: true, projectionSize: 12, from: 'prefix' } }, { neftune: 3 }, { neftune: 0 },
    { data: { path: 'd', srcLength: 5, maxLength: 60, template: 'none', system: 'S', packing: true, lazy: true, shuffleBuffer: 9, seed: 3, dropLast: true } }, { precision: 'bf16' }, { precision: 'fp16', fp16: { level: 'O2', lossScale: 128 } },
    { recompute: 'full' }, { recompute: 'full_attn' }, { recompute: 'core_attn' }, { device: 'cpu' }, { device: 'cuda' }, { blocks: 'plain' }, { optimizer: { learningRate: 1, weightDecay: 2, beta1: 0.1, beta2: 0.2, epsilon: 0.3, maxGradNorm: 0 } },
    { schedule: { type: 'polynomial', warmupSteps: 3, warmupRatio: 0.5, cycles: 1.5, endRate: 0, power: 2 } }, { batch: { size: 1, evalSize: 2, accumulate: 3, tokens: null } }, { epochs: 0.5 }, { steps: 9 },
    { evaluate: { by: 'steps', every: 3 } }, { evaluate: { by: 'epoch' } }, { evaluation: { generate: true, saveOutput: true, generation } }, { sample: { cadence: { by: 'steps', every: 2 }, prompts: ['a, b'], generation } },
    { best: { metric: 'bleu4', greaterIsBetter: true, load: true, patience: 2, minDelta: 0.5 } }, { best: { metric: 'loss', greaterIsBetter: false, load: false, patience: null, minDelta: 0 } },
    { save: { cadence: { by: 'no' }, keep: null } }, { save: { cadence: { by: 'steps', every: 4 }, keep: 1 } }, { logEvery: 8 }, { train: false }, { evalAtEnd: true }, { seed: 1 }, { output: 'o' }, { overwrite: true },
    { resume: true, resumeData: 'restart' }, { resume: 'c' }, { resumeData: 'continue' }, { threads: 3 }, { progress: false }, { report: ['tensorboard', 'mlflow'] }, { report: ['mlflow'] }, { predict: true },
    { mesh: { dp: 2, sharding: { degree: 3, stage: 2 }, pp: 4, virtual: 5, tp: 6, sequenceParallel: true, devices: null } }, { mesh: { ...defaultMesh, tp: 2, devices: [3, 1] } }, { mesh: { ...defaultMesh, dp: 2 } },
    { mesh: { ...defaultMesh, sharding: { degree: 2, stage: 3 } } }, { deterministic: true }, { cudaGraphs: true }, { restart: 2 },
    { method: 'lora' as const, lora: defaultLora, quantize: { algorithm: 'nf4' as const, blockSize: 32, doubleQuant: true, doubleQuantBlockSize: 128 } }, { method: 'lora' as const, lora: defaultLora, quantize: { algorithm: 'weight_only_int8' as const, blockSize: 64, doubleQuant: false, doubleQuantBlockSize: 256 } },
    { upload: { to: 'huggingface', repository: 'me/first', private: false, license: 'mit' } }, { upload: { to: 'huggingface', repository: 'me/first', private: true, license: null } },
    { upload: { to: 'aistudio', repository: 'me/first', private: true, license: 'MIT License' } },
  ]
  const ofStudio = { ...base, model: 'aistudio:org/m' }
  assert.deepEqual([toArguments(ofStudio).model_name_or_path, toArguments(ofStudio).from_aistudio, planned(toArguments(ofStudio) as File)], ['org/m', true, ofStudio])
  const touched = new Set(changes.flatMap((change) => Object.keys(change)))
  assert.deepEqual(Object.keys(base).filter((name) => !touched.has(name)), ['version', 'model'])
  for (const change of [...changes, changes.reduce((all, each) => ({ ...all, ...each, method: 'sft', lora: null, prefix: null, quantize: null }))]) {
    const plan = { ...base, ...change }
    assert.deepEqual(planned(JSON.parse(JSON.stringify(toArguments(plan))) as File), plan)
  }
  for (const name of Object.keys(toArguments({ ...base, ...changes[0] }))) assert.ok(fields.some((field) => field.name === name && field.status === 'plan'), name)
})

test('targets and patterns on the command line', () => {
  const file = { model_name_or_path: 'm', dataset_name_or_path: 'd', output_dir: 'o', do_train: true, lora: true }
  const targets = (text: string): unknown => parseArguments(file, { lora_target_modules: text }).plan.lora!.targets
  assert.deepEqual([targets('q_proj,layers.0.*'), targets('["q_proj"]'), targets('.*\\.(q|v)_proj'), targets('all-linear')], [['q_proj', 'layers.0.*'], ['q_proj'], '.*\\.(q|v)_proj', 'all-linear'])
  assert.deepEqual(parseArguments(file, { lora_rank_pattern: '{"q_proj": 2}', rslora: 'true' }).plan.lora, { ...defaultLora, alpha: 4, rsLora: true, rankPattern: { q_proj: 2 } })
  assert.throws(() => parseArguments(file, { lora_rank_pattern: 'q_proj=2' }), { code: 'plan.value', message: /whole numbers from 1 by module name.*--lora_rank_pattern/ })
})
