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
  private logs: readonly { readonly kind: string; readonly log: ScalarLog }[]
  private readonly warn: (code: string, message: string) => void

  constructor({ plan, output, startStep, warn }: { readonly plan: Plan; readonly output: string; readonly startStep: number; readonly warn: (code: string, message: string) => void }) {
    this.warn = warn
    this.logs = plan.report.flatMap((kind) => this.kept(kind, () => (kind === 'tensorboard'
      ? new TensorBoardLog(path.join(output, logFolders.tensorboard), startStep)
      : new MlflowLog(path.join(output, logFolders.mlflow), path.basename(output), settings(plan as unknown as Record<string, unknown>)))))
  }

  event(event: NewEvent): void {
    if (this.logs.length === 0) return
    const scalars = scalarsOf(event)
    const isOver = event.type === 'done' || event.type === 'failed'
    if (scalars.length === 0 && !isOver) return
    this.logs = this.logs.flatMap(({ kind, log }) => this.kept(kind, () => {
      log.write(scalars, Date.now())
      if (isOver) log.close(event.type === 'done' ? 'finished' : 'failed')
      return log
    }))
    if (isOver) this.logs = []
  }

  /** The log that `use` gives, or none and a warning where it failed. */
  private kept(kind: string, use: () => ScalarLog): { readonly kind: string; readonly log: ScalarLog }[] {
    try {
      return [{ kind, log: use() }]
    } catch (error) {
      this.warn('output.log', `the log for ${kind} cannot be written (${(error as Error).message}); metrics.jsonl goes on without it`)
      return []
    }
  }
}

/** Leaves of the plan by dotted name. */
function settings(value: Readonly<Record<string, unknown>>, prefix = ''): Record<string, string> {
  return Object.fromEntries(Object.entries(value).flatMap(([name, leaf]): [string, string][] =>
    (isRecord(leaf) ? Object.entries(settings(leaf, `${prefix}${name}.`)) : [[prefix + name, typeof leaf === 'string' ? leaf : JSON.stringify(leaf)]])))
}
