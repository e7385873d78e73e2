import type { Plan } from '../plan/plan'

/** What a worker that only answers needs to know: plain JSON, as a run's plan is. */
export interface ServePlan extends Pick<Plan, 'precision' | 'device' | 'blocks' | 'threads'> {
  /** Folder, file, `builtin:…` or hub repository. */
  readonly model: string
  /** Folder of a LoRA adapter to put on it; `null`: none. */
  readonly adapter: string | null
  /** As `DataPlan.template`. */
  readonly template: string
  /** As `DataPlan.system`: for conversations that bring no system message. */
  readonly system: string | null
}
