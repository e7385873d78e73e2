import type { SchedulePlan } from '../plan/plan'

/** Warm-up steps of a run: `warmupSteps` when it is not 0, else the ratio's share of all steps, rounded up. */
export function warmupSteps(schedule: SchedulePlan, totalSteps: number): number {
  return schedule.warmupSteps > 0 ? schedule.warmupSteps : Math.ceil(totalSteps * schedule.warmupRatio)
}

/**
 * Learning rate of optimizer step `step`, counted from 0. The formulas are those of transformers'
 * `get_{linear,cosine,constant,constant_with_warmup,polynomial_decay}_schedule*`, so that a curve can be compared with a
 * run there: with warm-up the very first step has rate 0.
 */
export function learningRateAt(schedule: SchedulePlan, learningRate: number, step: number, totalSteps: number): number {
  if (schedule.type === 'constant') return learningRate
  const warmup = warmupSteps(schedule, totalSteps)
  if (step < warmup) return learningRate * (step / Math.max(1, warmup))
  if (schedule.type === 'constant_with_warmup') return learningRate
  const progress = (step - warmup) / Math.max(1, totalSteps - warmup)
  if (schedule.type === 'cosine') return learningRate * Math.max(0, 0.5 * (1 + Math.cos(2 * Math.PI * schedule.cycles * progress)))
  const left = Math.max(0, 1 - progress)
  if (schedule.type === 'linear') return learningRate * left
  // A rate that was set below the end, while the run went on, stays where it is.
  const end = Math.min(schedule.endRate, learningRate)
  return end + (learningRate - end) * left ** schedule.power
}
