import { refusal, unknownName } from '../plan/refuse'
import { whole } from '../plan/rules'
import { isRecord } from '../plan/validate'

/** Options of `run.profile()`. */
export interface ProfileOptions {
  /** Steps to record: a whole number from 1 to 100. Default 3. */
  readonly steps?: number
  /** Steps to let pass before them: a whole number from 0 on. The first steps of a run touch their memory for the first time, and are slower. Default 0. */
  readonly skip?: number
}

const known = { steps: whole(1, 3, 100), skip: whole(0, 2) } as const

/** What `profile()` or a command asks for. @throws PlanError `plan.value`, `plan.unknown` */
export function readProfileOptions(options: unknown): Required<ProfileOptions> {
  if (!isRecord(options)) throw refusal('.profile()', 'an object of options', options, '.profile({ steps: 3 })')
  const unknown = Object.keys(options).find((key) => !(key in known))
  if (unknown !== undefined) throw unknownName('option of .profile()', unknown, Object.keys(known))
  const read = (key: keyof typeof known, usual: number): number => {
    const value = options[key] ?? usual, { ok, expected, example } = known[key]
    if (!ok(value)) throw refusal(`${key} of .profile()`, expected, value, `.profile({ ${key}: ${String(example)} })`)
    return value as number
  }
  return { steps: read('steps', 3), skip: read('skip', 0) }
}
