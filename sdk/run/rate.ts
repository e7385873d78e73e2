import { refusal, unknownName } from '../plan/refuse'
import { isRecord } from '../plan/validate'

/** Checks what `set` got (or a rate alone, as a command brings it) and gives the learning rate. @throws PlanError `plan.value`, `plan.unknown` */
export function readRate(values: unknown): number {
  const unknown = isRecord(values) ? Object.keys(values).find((name) => name !== 'learningRate') : undefined
  if (unknown !== undefined) throw unknownName('option of .set()', unknown, ['learningRate'])
  const rate = isRecord(values) ? values.learningRate : values
  if (typeof rate !== 'number' || !Number.isFinite(rate) || rate < 0) throw refusal('learningRate of .set()', 'a number from 0 on', rate, '.set({ learningRate: 1e-4 })')
  return rate
}
