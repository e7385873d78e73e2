import { CheckpointError } from '../errors'
import type { Plan } from '../plan/plan'
import { isRecord } from '../plan/validate'
import type { TrainingState } from './state'
import type { Warn } from './checkpoints'

/** Fields that may differ at a resume without a word: where output goes and how it is watched. Data has its own check, by content. */
const silent = new Set([
  'version', 'output', 'overwrite', 'resume', 'logEvery', 'threads', 'evalAtEnd', 'train', 'evaluate', 'evaluation', 'best', 'sample', 'save', 'recompute', 'progress', 'report', 'predict', 'resumeData', 'batch.evalSize', 'lora.from', 'prefix.from',
  'data.path', 'data.srcLength', 'data.maxLength', 'data.template', 'data.system',
])

/** Dotted names of the fields that shape training and differ between two plans, with both values. */
export function planDifferences(before: Plan, now: Plan): { readonly field: string; readonly before: unknown; readonly now: unknown }[] {
  return compare('', before, now)
}

/** Says which fields of the plan changed since the checkpoint: the run goes on, but not as if it had never stopped. */
export function warnPlanChanged(before: Plan, now: Plan, warn: Warn): void {
  const differences = planDifferences(before, now)
  if (differences.length === 0) return
  const list = differences.map(({ field, before: was, now: is }) => `${field} ${JSON.stringify(was)} → ${JSON.stringify(is)}`).join(', ')
  warn('checkpoint.plan', `the plan differs from the checkpoint's: ${list}. The run goes on under the new plan and will not equal an uninterrupted one.`)
}

/**
 * Refuses a resume on other rows: the position in the data would mean nothing.
 * @throws CheckpointError `checkpoint.data`
 */
export function checkSameData(folder: string, training: TrainingState, data: TrainingState['data']): void {
  if (training.data.hash === data.hash) return
  throw new CheckpointError('checkpoint.data',
    `the training data, tokenizer or data settings changed since ${folder} was written (${training.data.rows} rows then, ${data.rows} now); restore them to resume, or begin the data again: .resume(true, { data: 'restart' }) / ignore_data_skip`,
    { folder, before: training.data, now: data })
}

function compare(field: string, before: unknown, now: unknown): { field: string; before: unknown; now: unknown }[] {
  if (silent.has(field)) return []
  if (!isRecord(before) || !isRecord(now)) return JSON.stringify(before) === JSON.stringify(now) ? [] : [{ field, before, now }]
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])]
  return names.flatMap((name) => compare(field === '' ? name : `${field}.${name}`, before[name], now[name]))
}
