import { PlanError } from '../errors'
import { PlanBuilder, type BuilderState } from '../plan/builder'
import type { Plan } from '../plan/plan'
import { isRecord } from '../plan/validate'

/** What carries a plan: a builder, a run, or the plan itself. */
export type PlanSource = Plan | {
  /** The plan that it carries. */
  readonly plan: Plan
}

/** A builder that starts nothing: its checks and defaults are those of every other. */
export class Draft extends PlanBuilder {
  constructor(from: string | BuilderState) { super(from) }
  protected override next(from: BuilderState): this { return new Draft(from) as this }
}

/** The plan of a source. @throws PlanError `inspect.source` */
export function planOf(source: PlanSource, call: string): Plan {
  const outer: unknown = source
  const plan = isRecord(outer) && isRecord(outer.plan) ? outer.plan : outer
  if (isRecord(plan) && plan.version === 1 && typeof plan.model === 'string' && isRecord(plan.data)) return plan as unknown as Plan
  const seen = source === null ? 'null' : Array.isArray(source) ? 'a list' : typeof source
  throw new PlanError('inspect.source', `expected a builder, a run or a plan for ${call}(), got ${seen}; try ${call}(sft('builtin:smollm2-135m').data('data'))`, { seen })
}
