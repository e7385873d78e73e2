import type { SchedulePlan } from '../plan/plan'

/** Warm-up steps of a run: `warmupSteps` when it is not 0, else the ratio's share of all steps, rounded up. */
export function warmupSteps(schedule: SchedulePlan, totalSteps: number): number {
  return schedule.warmupSteps > 0 ? schedule.warmupSteps : Math.ceil(totalSteps * schedule.warmupRatio)
}

/**
 * Factor on the learning rate of optimizer step `step`, counted from 0. The formulas are those of transformers'
 * `get_{linear,cosine,constant,constant_with_warmup}_schedule*` (half a cosine wave), so that a curve can be
 * compared with a run there: with warm-up the very first step has factor 0.
 */
export function scheduleFactor(schedule: SchedulePlan, step: number, totalSteps: number): number {
  if (schedule.type === 'constant') return 1
  const warmup = warmupSteps(schedule, totalSteps)
  if (step < warmup) return step / Math.max(1, warmup)
  if (schedule.type === 'constant_with_warmup') return 1
  const rest = Math.max(1, totalSteps - warmup)
  if (schedule.type === 'linear') return Math.max(0, (totalSteps - step) / rest)
  const progress = (step - warmup) / rest
  return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)))
}

/** Learning rate of optimizer step `step`, counted from 0. */
export function learningRateAt(schedule: SchedulePlan, learningRate: number, step: number, totalSteps: number): number {
  return learningRate * scheduleFactor(schedule, step, totalSteps)
}
