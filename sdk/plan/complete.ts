import { defaultLora, defaultPlan } from './defaults'
import { isRecord } from './record'

/** Fields that plans of earlier builds do not have. */
const added = ['prefix', 'neftune', 'fp16', 'recompute', 'evaluation', 'best', 'resumeData', 'progress', 'report', 'predict', 'upload', 'quantize', 'deterministic', 'cudaGraphs', 'restart'] as const
const addedWithin = {
  data: ['packing', 'lazy', 'shuffleBuffer', 'seed', 'dropLast'], schedule: ['cycles', 'endRate', 'power'],
  mesh: ['virtual', 'sequenceParallel', 'devices'], batch: ['tokens'],
} as const
const addedToLora = ['rsLora', 'dora', 'pissa', 'plusRatio', 'rankPattern', 'alphaPattern', 'from'] as const

/** A plan of an earlier build with the fields that came later, at their defaults; all else as it was. */
export function completePlan(value: unknown): unknown {
  if (!isRecord(value) || value.version !== 1) return value
  const usual = defaultPlan('') as unknown as Record<string, unknown>
  const plan = fill(value, usual, added)
  for (const [name, fields] of Object.entries(addedWithin)) {
    if (isRecord(plan[name])) plan[name] = fill(plan[name], usual[name] as Record<string, unknown>, fields)
  }
  if (isRecord(plan.lora)) plan.lora = fill(plan.lora, defaultLora as unknown as Record<string, unknown>, addedToLora)
  return plan
}

function fill(value: Record<string, unknown>, usual: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  const filled = { ...value }
  for (const name of names) if (!(name in filled)) filled[name] = usual[name]
  return filled
}
