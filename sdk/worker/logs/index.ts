import * as path from 'node:path'
import type { Plan } from '../../plan/plan'
import { isRecord } from '../../plan/record'
import type { NewEvent } from '../reporter'
import { MlflowLog } from './mlflow'
import { scalarsOf, type ScalarLog } from './scalars'
import { TensorBoardLog } from './tensorboard'

/** Folders of the output folder that other programs read. */
export const logFolders = { tensorboard: 'tensorboard', mlflow: 'mlruns' } as const

/**
 * The logs that a plan asks for beside metrics.jsonl. One that cannot be written is told once, and training goes on without it.
 */
export class Logs {
  private readonly logs: ScalarLog[] = []

  constructor({ plan, output, startStep, warn }: { readonly plan: Plan; readonly output: string; readonly startStep: number; readonly warn: (code: string, message: string) => void }) {
    for (const kind of plan.report) {
      this.guarded(kind, warn, () => this.logs.push(this.safe(kind, warn, kind === 'tensorboard'
        ? new TensorBoardLog(path.join(output, logFolders.tensorboard), startStep)
        : new MlflowLog(path.join(output, logFolders.mlflow), path.basename(output), settings(plan as unknown as Record<string, unknown>)))))
    }
  }

  event(event: NewEvent): void {
    if (this.logs.length === 0) return
    const scalars = scalarsOf(event)
    if (scalars.length > 0) for (const log of this.logs) log.write(scalars, Date.now())
    if (event.type === 'done' || event.type === 'failed') for (const log of this.logs.splice(0)) log.close(event.type === 'done' ? 'finished' : 'failed')
  }

  /** The same log, which goes when it fails. */
  private safe(kind: string, warn: (code: string, message: string) => void, log: ScalarLog): ScalarLog {
    const safe: ScalarLog = {
      write: (scalars, time) => this.guarded(kind, warn, () => log.write(scalars, time), safe),
      close: (outcome) => this.guarded(kind, warn, () => log.close(outcome), safe),
    }
    return safe
  }

  private guarded(kind: string, warn: (code: string, message: string) => void, work: () => void, log?: ScalarLog): void {
    try {
      work()
    } catch (error) {
      if (log !== undefined && this.logs.includes(log)) this.logs.splice(this.logs.indexOf(log), 1)
      warn('output.log', `the log for ${kind} cannot be written (${(error as Error).message}); metrics.jsonl goes on without it`)
    }
  }
}

/** Leaves of the plan by dotted name. */
function settings(value: Readonly<Record<string, unknown>>, prefix = ''): Record<string, string> {
  return Object.fromEntries(Object.entries(value).flatMap(([name, leaf]): [string, string][] =>
    (isRecord(leaf) ? Object.entries(settings(leaf, `${prefix}${name}.`)) : [[prefix + name, typeof leaf === 'string' ? leaf : JSON.stringify(leaf)]])))
}
