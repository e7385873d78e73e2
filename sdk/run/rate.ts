import { refusal, unknownName } from '../plan/refuse'
import { isRecord } from '../plan/validate'

/** The learning rate of what `.set()` got. @throws PlanError `plan.value`, or for an option that it does not know */
export function readSettings(values: unknown): number {
  if (!isRecord(values)) return readRate(undefined)
  const unknown = Object.keys(values).find((name) => name !== 'learningRate')
  if (unknown !== undefined) throw unknownName('option of .set()', unknown, ['learningRate'])
  return readRate(values.learningRate)
}

/** Checks a learning rate, as `set` or a command brings it. @throws PlanError `plan.value` */
export function readRate(rate: unknown): number {
  if (typeof rate !== 'number' || !Number.isFinite(rate) || rate < 0) throw refusal('learningRate of .set()', 'a number from 0 on', rate, '.set({ learningRate: 1e-4 })')
  return rate
}
