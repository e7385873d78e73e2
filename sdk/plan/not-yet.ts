import type { Plan } from './plan'
import { notYet } from './refuse'

/** A setting that plans can say and that nothing carries out yet. Whoever brings its engine takes it out of this list. */
interface Missing {
  /** Its name in a plan, and in an argument file. */
  readonly field: string
  readonly argument: string
  /** What was asked for; `undefined`: nothing was. */
  readonly got: (plan: Plan) => unknown
  readonly remedy: string
  /** Some of its values are there. */
  readonly partly?: boolean
}

const asked = (holds: boolean): true | undefined => (holds ? true : undefined)

const missing: readonly Missing[] = [
]

/** What to do instead, by the names of arguments that are not there yet. */
export const missingArguments: ReadonlyMap<string, string> = new Map(missing.filter(({ partly }) => !partly).map(({ argument, remedy }) => [argument, remedy]))

/** A setting of a plan that is not there yet, as it was asked for. */
export interface MissingSetting { readonly field: string; readonly argument: string; readonly got: unknown; readonly remedy: string }

/** What of a plan cannot be carried out yet. */
export function missingIn(plan: Plan): MissingSetting[] {
  return missing.map((each) => ({ ...each, got: each.got(plan) })).filter(({ got }) => got !== undefined)
}

/** Refuses the first such setting by name. */
export function refuseMissing(plan: Plan, where: string): void {
  const [first] = missingIn(plan)
  if (first) throw notYet(first.field, first.got, first.remedy, where)
}
