import { PlanError } from '../errors'
import { defaultPlan } from './defaults'
import { deepFreeze } from './freeze'
import type { Plan } from './plan'
import { conflict, notYet, refusal, show, unknownName } from './refuse'
import { rule, type RuleName } from './rules'

/** Checks a whole plan from anywhere (file, pipe, checkpoint) and freezes a copy of it. Throws {@link PlanError}. */
export function validatePlan(value: unknown): Plan {
  const plan = structuredClone(value) as Plan
  checkShape(plan)
  checkConsistent(plan)
  checkReady(plan)
  return deepFreeze(plan)
}

const shape = defaultPlan('model')
const cadences = new Set(['evaluate', 'sample.cadence', 'save.cadence'])

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
    else if (path === 'lora') { if (value[key] !== null) walkInto(value[key], { rank: 8, alpha: 16, dropout: 0, targets: [] }, path) }
    else if (isRecord(like[key])) walkInto(value[key], like[key] as Record<string, unknown>, path)
    else checkLeaf(path, value[key])
  }
}

function walkInto(value: unknown, like: Record<string, unknown>, path: string): void {
  if (!isRecord(value)) throw refusal(`plan.${path}`, 'an object', value, `{ ${Object.keys(like).join(', ')} }`)
  walk(value, like, `${path}.`)
}

function checkLeaf(path: string, value: unknown): void {
  const { ok, expected, example } = rule(path.replace('sample.generation.', 'generation.') as RuleName)
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
  if ((plan.method === 'lora') !== (plan.lora !== null)) {
    throw conflict(['method', 'lora'], `method is ${show(plan.method)} while lora is ${show(plan.lora)}`, "method: 'lora' with lora: { rank, … }", where)
  }
  if (plan.data.srcLength >= plan.data.maxLength) {
    throw refusal('srcLength', `less than maxLength (${plan.data.maxLength}), so that a target has room`, plan.data.srcLength,
      `srcLength ${Math.floor(plan.data.maxLength / 2)}, or a longer maxLength`, where)
  }
  const { minNewTokens, maxNewTokens } = plan.sample.generation
  if (minNewTokens > maxNewTokens) {
    throw refusal('minNewTokens', `at most maxNewTokens (${maxNewTokens})`, minNewTokens, `minNewTokens ${maxNewTokens}`, where)
  }
  if (plan.resume !== null && !plan.train) {
    throw conflict(['resume', 'train'], 'the plan resumes from a checkpoint and does not train', 'the checkpoint-N folder as model, or fettle generate --adapter, to use its weights', where)
  }
  checkMesh(plan, where)
}

/** More than one rank is work of its own: refused by name. */
function checkMesh({ mesh }: Plan, where: string): void {
  const degrees: Record<string, number> = { tp: mesh.tp, pp: mesh.pp, dp: mesh.dp, 'sharding degree': mesh.sharding.degree }
  for (const [name, degree] of Object.entries(degrees)) {
    if (degree !== 1) throw notYet(name, degree, 'use 1', where)
  }
  if (mesh.sharding.stage !== 0) throw notYet('sharding stage', mesh.sharding.stage, 'leave it out: one rank has nothing to share', where)
}

/** What a plan still lacks before it can run. */
export function checkReady(plan: Plan): void {
  if (!plan.train && !plan.evalAtEnd) throw conflict(['train', 'evalAtEnd'], 'the plan neither trains nor evaluates', 'train: true')
  if (plan.data.path === null) throw new PlanError('plan.noData', "expected a data set to train on, got none; try .data('folder with train.json')", { field: 'data.path' })
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
