import { refuseMesh } from '../parallel/mesh/fit'
import { dataRanks } from '../parallel/mesh/shape'
import type { Plan } from '../plan/plan'
import { Windows } from '../train/windows'
import { planView, type TextAndHtml } from '../views/objects'
import { dataset, type DataInfo, type DataViewOptions } from './dataset'
import { model, type ModelInfo } from './model'
import { Shown } from './shown'
import { planOf, type PlanSource } from './source'

/** A run before it starts: what would train, on what, for how many steps. */
export class RunInfo extends Shown {
  /** @internal Use `inspect(builder)`. */
  constructor(
    /** The settings. */
    readonly plan: Plan,
    /** The model, and what would train of it. */
    readonly model: ModelInfo,
    /** `null` while the plan names no data. */
    readonly data: DataInfo | null,
    /** Optimizer steps of the whole run; `null` while there is no data. 0 for a run that only evaluates. */
    readonly steps: number | null,
    /** Epochs of the whole run, as a fraction; `null` while there is no data. */
    readonly epochs: number | null,
  ) {
    super()
    Object.freeze(this)
  }

  protected override view(): TextAndHtml { return planView(this.plan, this) }
}

/**
 * Looks at a run before it starts: its model (what trains of it), its data (tokenised as training would), its steps and
 * settings. Nothing is trained, and no weights are read.
 *
 * ```ts
 * await inspect(sft('builtin:smollm2-135m').data('data/pronounce').lora())
 * ```
 *
 * @param source A builder, a run or a plan.
 * @throws ModelError, DataError, PlanError as the run itself would
 */
export async function inspect(source: PlanSource, options: DataViewOptions = {}): Promise<RunInfo> {
  const plan = planOf(source, 'inspect')
  const split = options.split ?? (plan.train ? 'train' : 'dev')
  const described = await model(plan)
  refuseMesh(plan.mesh, described, null)
  const data = plan.data.path === null ? null : await dataset(plan, { ...options, split })
  if (data === null) return new RunInfo(plan, described, null, null, null)
  if (!plan.train || split !== 'train') return new RunInfo(plan, described, data, plan.train ? null : 0, plan.train ? null : 0)
  const windows = new Windows(data.packs ?? data.count, { ...plan.batch, size: plan.batch.size * dataRanks(plan.mesh) }, plan, () => [])
  return new RunInfo(plan, described, data, windows.totalSteps, windows.epochsDone(windows.totalSteps))
}
