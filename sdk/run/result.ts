import type { DoneEvent, PredictEvent } from './events'
import type { EventLog } from './log'

/** What a finished or stopped run leaves. */
export interface RunResult {
  /** Optimizer steps done in all. */
  readonly steps: number
  /** Loss of the last step; `null` when none ran. */
  readonly loss: number | null
  /** The last evaluation's loss; `null` without one. */
  readonly evalLoss: number | null
  /** How the final weights do on test.json; `null` where the plan does not predict. */
  readonly test: PredictEvent | null
  /** The best evaluation by the plan's metric, and whether the final weights are its checkpoint's; `null` where the plan asks for none. */
  readonly best: NonNullable<DoneEvent['best']> | null
  /** Folder of the final weights or, after a stop, of the checkpoints. */
  readonly output: string
  /** True when it was stopped before its end. */
  readonly stopped: boolean
  /** Duration in ms. */
  readonly ms: number
}

/** Sums a log up that holds a `done` event. */
export function resultOf(dir: string, log: EventLog): RunResult {
  const done = log.last('done')!
  return {
    steps: done.atStep, loss: log.last('step')?.loss ?? null, evalLoss: log.last('eval')?.loss ?? null, test: log.last('predict') ?? null, best: done.best ?? null,
    output: done.output || dir, stopped: done.stopped, ms: done.ms,
  }
}
