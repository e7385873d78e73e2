import { refusal } from '../plan/refuse'

/** Checks a learning rate that `set` got. @throws PlanError `plan.value` */
export function readRate(rate: unknown): number {
  if (typeof rate !== 'number' || !Number.isFinite(rate) || rate < 0) throw refusal('learningRate of .set()', 'a number from 0 on', rate, '.set({ learningRate: 1e-4 })')
  return rate
}
