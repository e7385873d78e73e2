import { PlanError } from '../errors'
import { figureNames, figureOf, isScore } from '../train/best'
import { completePlan } from './complete'
import { defaultLora, defaultPlan, defaultPrefix, defaultQuantize, defaultUpload } from './defaults'
import { deepFreeze } from './freeze'
import type { Plan } from './plan'
import { isRecord } from './record'
import { conflict, refusal, show, unknownName } from './refuse'
import { rule, type RuleName } from './rules'

export { isRecord } from './record'

/** Checks a whole plan from anywhere (file, pipe, checkpoint of an earlier build) and freezes a copy of it. Throws {@link PlanError}. */
export function validatePlan(value: unknown): Plan {
  const plan = completePlan(structuredClone(value)) as Plan
  checkShape(plan)
  checkConsistent(plan)
  checkReady(plan)
  return deepFreeze(plan)
}

const shape = defaultPlan('model')
const cadences = new Set(['evaluate', 'sample.cadence', 'save.cadence'])
/** Parts that are `null` unless they are asked for. */
const parts: Readonly<Record<string, object>> = { lora: defaultLora, prefix: defaultPrefix, quantize: defaultQuantize, upload: defaultUpload }
/** Objects with names of the user's own. */
const tables = new Set(['lora.rankPattern', 'lora.alphaPattern'])

/** Every key known, every leaf as its rule wants it. */
function checkShape(plan: Plan): void {
  if (!isRecord(plan)) throw refusal('the plan', 'an object', plan, "a builder's .plan")
  walk(plan, shape as unknown as Record<string, unknown>, '')
}

function walk(value: Record<string, unknown>, like: Record<string, unknown>, prefix: string): void {
  for (const key of Object.keys(value)) {
    if (!(key in like)) throw unknownName('field of the plan', prefix + key, Object.keys(like).map((name) => prefix + name))
  }
  for (const key of Object.keys(like)) {
    const path = prefix + key
    if (cadences.has(path)) checkCadence(path, value[key])
    else if (path in parts) { if (value[key] !== null) walkInto(value[key], parts[path] as Record<string, unknown>, path) }
    else if (isRecord(like[key]) && !tables.has(path)) walkInto(value[key], like[key] as Record<string, unknown>, path)
    else checkLeaf(path, value[key])
  }
}

function walkInto(value: unknown, like: Record<string, unknown>, path: string): void {
  if (!isRecord(value)) throw refusal(`plan.${path}`, 'an object', value, `{ ${Object.keys(like).join(', ')} }`)
  walk(value, like, `${path}.`)
}

function checkLeaf(path: string, value: unknown): void {
  const { ok, expected, example } = rule(path.replace(/^(sample|evaluation)\.generation\./, 'generation.') as RuleName)
  if (!ok(value)) throw refusal(`plan.${path}`, expected, value, show(example))
}

function checkCadence(path: string, value: unknown): void {
  const cadence = isRecord(value) ? value : {}
  const keys = Object.keys(cadence).length
  const fits = ((cadence.by === 'no' || cadence.by === 'epoch') && keys === 1)
    || (cadence.by === 'steps' && keys === 2 && rule('cadence.every').ok(cadence.every))
  if (!fits) throw refusal(`plan.${path}`, '{ by: "no" }, { by: "epoch" } or { by: "steps", every: n }', value, '{ by: "steps", every: 50 }')
}

/** Values that exclude each other. `where` goes before the message. */
export function checkConsistent(plan: Plan, where = ''): void {
  for (const method of ['lora', 'prefix'] as const) {
    if ((plan.method === method) === (plan[method] !== null)) continue
    throw conflict(['method', method], `method is ${show(plan.method)} while ${method} is ${show(plan[method])}`, method === 'lora' ? "method: 'lora' with lora: { rank, … }" : "method: 'prefix' with prefix: { tokens, … }", where)
  }
  if (plan.lora !== null && plan.lora.pissa && plan.lora.from !== null) throw conflict(['lora.pissa', 'lora.from'], 'pissa begins from the weights, and from goes on from an adapter', 'pissa: false, or from: null', where)
  if (plan.quantize !== null && plan.method === 'sft') throw conflict(['quantize', 'method'], 'quantize keeps frozen weights in few bits, and all weights train', '.lora() or .prefix(), or no quantize', where)
  if (plan.quantize !== null && plan.lora?.pissa) throw conflict(['quantize', 'lora.pissa'], 'pissa changes the weights that quantize keeps in few bits', 'one of them alone', where)
  if (plan.quantize !== null && plan.mesh.sharding.stage === 3) throw conflict(['quantize', 'mesh.sharding.stage'], 'quantize keeps frozen weights in few bits on each rank, and stage 3 divides them between ranks', 'stage 1 or 2, or no quantize', where)
  if (plan.data.srcLength >= plan.data.maxLength) {
    throw refusal('srcLength', `less than maxLength (${plan.data.maxLength}), so that a target has room`, plan.data.srcLength,
      `srcLength ${Math.floor(plan.data.maxLength / 2)}, or a longer maxLength`, where)
  }
  for (const { minNewTokens, maxNewTokens } of [plan.sample.generation, plan.evaluation.generation]) {
    if (minNewTokens > maxNewTokens) throw refusal('minNewTokens', `at most maxNewTokens (${maxNewTokens})`, minNewTokens, `minNewTokens ${maxNewTokens}`, where)
  }
  if (plan.resume !== null && !plan.train) {
    throw conflict(['resume', 'train'], 'the plan resumes from a checkpoint and does not train', 'the checkpoint-N folder as model, or fettle generate --adapter, to use its weights', where)
  }
  if (plan.upload?.to === 'aistudio' && plan.upload.license === null) {
    throw conflict(['upload.to', 'upload.license'], 'AI Studio takes no repository without a licence, and upload.license is null', ".upload(repository, { to: 'aistudio', license: 'Apache License 2.0' })", where)
  }
  checkMesh(plan, where)
}

/** A polynomial goes down. */
function checkSchedule({ schedule, optimizer: { learningRate } }: Plan): void {
  if (schedule.type !== 'polynomial' || schedule.endRate < learningRate) return
  throw conflict(['schedule.endRate', 'optimizer.learningRate'], `the schedule ends at ${schedule.endRate}, not below the learning rate ${learningRate}`, 'a lower endRate (lr_end), or a higher learning rate')
}

/** A best checkpoint is one that was evaluated. */
function checkBest({ best, evaluate, evaluation, save, train }: Plan): void {
  const figure = figureOf(best.metric)
  if (figure === undefined) throw unknownName('figure of an evaluation', best.metric as string, figureNames)
  if (isScore(figure) && !evaluation.generate) {
    throw conflict(['best.metric', 'evaluation.generate'], `best.metric is ${show(best.metric)}, which only an evaluation by generation gives`, "an evaluation that generates (eval_with_do_generation), or metric 'accuracy'")
  }
  if (best.patience !== null && evaluate.by === 'no') throw conflict(['best.patience', 'evaluate'], 'patience counts evaluations, and the plan never evaluates', ".evaluate({ each: 'epoch' })")
  if (!best.load || !train) return
  const met = evaluate.by === save.cadence.by && evaluate.by !== 'no'
    && (evaluate.by !== 'steps' || (save.cadence as { every: number }).every % evaluate.every === 0)
  if (!met) throw conflict(['best.load', 'evaluate', 'save'], 'the best checkpoint is one that was evaluated, but the plan does not evaluate wherever it saves', "the same for both: .evaluate({ each: 'epoch' }).save({ each: 'epoch' })")
}

/** What a mesh says of an axis fits the axis' degree. Whether a model can be cut so is asked when it is known. */
function checkMesh({ mesh: { sharding, pp, virtual } }: Plan, where: string): void {
  if ((sharding.degree > 1) !== (sharding.stage > 0)) {
    throw conflict(['mesh.sharding.degree', 'mesh.sharding.stage'], `sharding has stage ${sharding.stage} and degree ${sharding.degree}`, 'a stage from 1 to 3 with a degree above 1, or stage 0 with degree 1', where)
  }
  if (virtual > 1 && pp === 1) throw conflict(['mesh.virtual', 'mesh.pp'], `one pipeline stage has nobody to interleave its ${virtual} ranges of layers with`, 'virtual 1, or more stages', where)
}

/** Each rank has a GPU of its own, where GPUs are named. */
function checkDevices({ device, mesh: { devices, dp, sharding, pp, tp } }: Plan): void {
  if (devices === null) return
  if (device === 'cpu') throw conflict(['mesh.devices', 'device'], `the plan names GPUs (${devices.join(', ')}) and computes on the CPU`, "no GPUs, or .device('auto')")
  const ranks = dp * sharding.degree * pp * tp
  if (devices.length === ranks) return
  throw new PlanError('mesh.devices', `the mesh has ${ranks} rank${ranks === 1 ? '' : 's'} and the plan names ${devices.length} GPU${devices.length === 1 ? '' : 's'} (${devices.join(', ')}), and each rank has a GPU of its own; try ${ranks < devices.length ? `the first ${ranks} of them` : 'more of them'}, or degrees with the product ${devices.length}`, { ranks, devices })
}

/** What a plan still lacks before it can run, or holds that cannot be brought together. */
export function checkReady(plan: Plan): void {
  if (!plan.train && !plan.evalAtEnd && !plan.predict) throw conflict(['train', 'evalAtEnd'], 'the plan neither trains nor evaluates', 'train: true')
  if (plan.data.path === null) throw new PlanError('plan.noData', "expected a data set to train on, got none; try .data('folder with train.json')", { field: 'data.path' })
  checkDevices(plan)
  checkBest(plan)
  checkSchedule(plan)
  if (plan.data.lazy && plan.steps === null && plan.train) throw conflict(['data.lazy', 'steps'], 'lazy reads data without knowing its length, so epochs have no meaning', '.steps(1000)')
  if (plan.data.packing && plan.evaluation.generate) throw conflict(['data.packing', 'evaluation.generate'], 'packing makes one row of many, and evaluation by generation needs each row on its own', '.data(path, { packing: false })')
}
