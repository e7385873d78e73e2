import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlanError, sft, validatePlan } from 'fettle'

const good = () => structuredClone(sft('m').data('d').lora().plan) as unknown as Record<string, any>
const refused = (change: (plan: Record<string, any>) => void, pattern: RegExp) => {
  const plan = good()
  change(plan)
  assert.throws(() => validatePlan(plan), (error) => error instanceof PlanError && pattern.test(error.message))
}

test('a right plan comes back equal, frozen and as a copy', () => {
  const plan = good()
  const valid = validatePlan(plan)
  assert.deepEqual(valid, plan)
  assert.ok(Object.isFrozen(valid.data) && !Object.isFrozen(plan.data))
})

test('a wrong plan is refused by field', () => {
  assert.throws(() => validatePlan('plan'), PlanError)
  refused((plan) => { plan.data = null }, /expected an object for plan\.data/)
  refused((plan) => { delete plan.seed }, /for plan\.seed, got nothing/)
  refused((plan) => { plan.seeed = 1 }, /expected a known field of the plan, got "seeed"; try seed/)
  refused((plan) => { plan.lora.rnk = 1 }, /try lora\.rank/)
  refused((plan) => { plan.lora = { ...plan.lora, pissa: true, from: 'a' } }, /pissa begins from the weights.*from: null/)
  refused((plan) => { plan.sample.generation.topP = 2 }, /for plan\.sample\.generation\.topP, got 2/)
  refused((plan) => { plan.evaluate = { by: 'steps' } }, /plan\.evaluate/)
  refused((plan) => { plan.evaluate = { by: 'epoch', every: 1 } }, /plan\.evaluate/)
  refused((plan) => { plan.method = 'sft' }, /method is "sft" while lora is/)
  refused((plan) => { plan.mesh.tp = 0 }, /at least 1 for plan\.mesh\.tp, got 0/)
  refused((plan) => { plan.mesh.sharding.stage = 2 }, /sharding has stage 2 and degree 1; try a stage from 1 to 3 with a degree above 1, or stage 0/)
  refused((plan) => { plan.mesh.sharding.degree = 2 }, /sharding has stage 0 and degree 2/)
  refused((plan) => { plan.mesh.virtual = 2 }, /one pipeline stage has nobody to interleave its 2 ranges/)
  refused((plan) => { plan.mesh.devices = [0, 1, 2]; plan.mesh.tp = 2 }, /the mesh has 2 ranks and the plan names 3 GPUs \(0, 1, 2\).*; try the first 2 of them, or degrees with the product 3/)
  refused((plan) => { plan.mesh.devices = [0]; plan.device = 'cpu' }, /names GPUs \(0\) and computes on the CPU; try no GPUs/)
  refused((plan) => { plan.mesh.devices = [1]; plan.mesh.tp = 2 }, /names 1 GPU \(1\).*; try more of them/)
  refused((plan) => { plan.data.path = null }, /expected a data set/)
  refused((plan) => { plan.train = false }, /neither trains nor evaluates/)
  refused((plan) => { plan.resume = true; plan.train = false; plan.evalAtEnd = true }, /resumes from a checkpoint and does not train/)
})

test('a plan of an earlier build gets the fields that came later, at their defaults', () => {
  const old = good()
  for (const name of ['prefix', 'neftune', 'fp16', 'recompute', 'evaluation', 'best', 'resumeData', 'progress', 'deterministic', 'cudaGraphs', 'restart']) delete old[name]
  for (const name of ['virtual', 'sequenceParallel', 'devices']) delete old.mesh[name]
  for (const name of ['packing', 'lazy', 'shuffleBuffer', 'seed', 'dropLast']) delete old.data[name]
  for (const name of ['cycles', 'endRate', 'power']) delete old.schedule[name]
  for (const name of ['rsLora', 'dora', 'pissa', 'plusRatio', 'rankPattern', 'alphaPattern', 'from']) delete old.lora[name]
  assert.deepEqual(validatePlan(old), good())
})

test('what cannot be brought together is refused when a run starts, with the way out', () => {
  const conflict = (change: (plan: Record<string, any>) => void, pattern: RegExp): void => {
    const plan = good()
    change(plan)
    assert.throws(() => validatePlan(plan), (error) => error instanceof PlanError && ['plan.conflict', 'plan.notYet'].includes(error.code) && pattern.test(error.message))
  }
  conflict((plan) => { plan.best.load = true }, /evaluate wherever it saves; try the same for both|best\.load/)
  conflict((plan) => { plan.best.patience = 2 }, /patience counts evaluations|best\.patience/)
  conflict((plan) => { plan.schedule.type = 'polynomial'; plan.schedule.endRate = 1 }, /ends at 1, not below the learning rate 0\.0003/)
  conflict((plan) => { plan.data.lazy = true }, /\.steps\(1000\)|data\.lazy/)
  conflict((plan) => { plan.data.packing = true; plan.evaluation.generate = true }, /each row on its own|data\.packing/)
  conflict((plan) => { plan.prefix = { tokens: 1, projection: false, projectionSize: null, from: null } }, /method is "lora" while prefix is/)
})
