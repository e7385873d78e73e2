import type { DataViewOptions } from '../inspect/dataset'
import { plan, type Forecast, type ForecastOptions } from '../estimate'
import { inspect, type RunInfo } from '../inspect/run-info'
import { PlanBuilder, type BuilderState } from '../plan/builder'
import type { AttachedRun } from './attach'
import type { RemoteStartOptions } from './remote/options'
import type { Run, StartOptions } from './run'
import { start } from './start'

/** Builder of a supervised fine-tuning run; see {@link sft}. */
export class Sft extends PlanBuilder {
  /** @internal Use `sft(model)`. */
  constructor(from: string | BuilderState) { super(from) }

  protected override next(from: BuilderState): this { return new Sft(from) as this }

  /** Starts the run in a worker process and gives its handle. Throws a `PlanError` when something is missing. */
  start(options?: StartOptions): Promise<Run>
  /** Starts its ranks on other hosts over ssh, and attaches to it. It goes on when this process ends; paths are those of the hosts. */
  start(options: RemoteStartOptions): Promise<AttachedRun>
  start(options: StartOptions | RemoteStartOptions = {}): Promise<Run | AttachedRun> {
    return 'hosts' in options ? start(this.plan, options) : start(this.plan, options)
  }

  /**
   * What would train, on what and for how many steps, without training: model, tokenised data and settings, which a
   * notebook shows. Throws what the run would: a `ModelError`, a `DataError` with the place of a bad row.
   */
  inspect(options: DataViewOptions = {}): Promise<RunInfo> { return inspect(this.plan, options) }

  /** What the run would take: memory of each rank, time, size of a checkpoint; and the fastest way to run it that fits. The same as `plan(builder)`. */
  forecast(options: ForecastOptions = {}): Promise<Forecast<this>> { return plan(this, options) }

  /** The builder with the fastest way that fits: mesh, token budget, recompute. Each optimizer step computes what it did before. */
  async fit(options: ForecastOptions = {}): Promise<this> { return (await plan(this, options)).fit() as this }
}

/**
 * Begins the description of a supervised fine-tuning run.
 *
 * ```ts
 * const run = await sft('HuggingFaceTB/SmolLM2-135M-Instruct').data('data/advertise').lora({ rank: 8 }).start()
 * await run.done
 * ```
 *
 * @param model A local folder or GGUF file, a repository of Hugging Face's hub or of AI Studio (`aistudio:OWNER/MODEL`), or `builtin:smollm2-135m`.
 */
export function sft(model: string): Sft { return new Sft(model) }
