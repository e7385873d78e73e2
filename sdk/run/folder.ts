import * as fs from 'node:fs'
import * as path from 'node:path'
import { EnvironmentError, PlanError } from '../errors'
import type { Plan } from '../plan/plan'
import { controlName, livesHere, readControl } from './control'
import { isTurn, newest, readLog, verdict } from './read-log'

/** File of a run's events in its output folder: one JSON object a line. */
export const metricsName = 'metrics.jsonl'
/** What the worker's process prints, in the output folder. */
export const workerLogName = 'worker.log'
/** What the launcher and the ranks print of a run that was started from another host, in the output folder. */
export const launchLogName = 'launch.log'
const finalNames = ['model.safetensors', 'model.safetensors.index.json', 'adapter_model.safetensors', 'adapter_config.json']
const checkpointName = /^checkpoint-\d+$/

/** Makes the plan's output folder ready, or refuses one that holds another run. Deletes an earlier run only under `overwrite`. */
export function prepareFolder(plan: Plan): string {
  const dir = path.resolve(plan.output)
  const entries = list(dir)
  refuseLiveRun(dir)
  const checkpoints = entries.filter((name) => checkpointName.test(name))
  if (plan.resume === true && checkpoints.length === 0) {
    throw new PlanError('checkpoint.none', `expected a checkpoint-N folder in ${dir} to resume from, found none; try .resume(path) / resume_from_checkpoint with a path, or start afresh without resume`, { dir })
  }
  if (typeof plan.resume === 'string' && !fs.existsSync(plan.resume)) {
    throw new PlanError('checkpoint.missing', `expected a checkpoint at ${path.resolve(plan.resume)}, found nothing; try one of ${checkpoints.join(', ') || 'the checkpoints of another run'}`, { path: plan.resume })
  }
  const results = [...checkpoints, ...entries.filter((name) => finalNames.includes(name))]
  if (results.length > 0 && plan.resume === null) {
    if (!plan.overwrite) throw occupied(dir, results)
    if (fs.existsSync(path.join(dir, metricsName))) clear(dir, plan)
  }
  if (results.length === 0 && plan.resume === null) fs.rmSync(path.join(dir, metricsName), { force: true })
  try { fs.mkdirSync(dir, { recursive: true }) } catch (cause) {
    throw new EnvironmentError('output.folder', `cannot make the output folder ${dir}: ${(cause as Error).message}; try another .output(folder)`, { dir }, { cause })
  }
  return dir
}

/** True when a run left something here to answer with: a checkpoint, or the final weights. */
export function hasWeights(dir: string): boolean { return hasCheckpoint(dir) || list(dir).some((name) => finalNames.includes(name)) }

/** True when a run of this folder can be resumed. */
export function hasCheckpoint(dir: string): boolean { return list(dir).some((name) => checkpointName.test(name)) }

function list(dir: string): string[] {
  try { return fs.readdirSync(dir) } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return []
    if (code === 'ENOTDIR') throw new PlanError('plan.output', `expected a folder for output, got the file ${dir}; try another .output(folder)`, { dir })
    throw new EnvironmentError('output.folder', `cannot read the output folder ${dir}: ${(error as Error).message}; try another .output(folder)`, { dir }, { cause: error })
  }
}

function occupied(dir: string, results: string[]): PlanError {
  return new PlanError('plan.outputNotEmpty',
    `expected an output folder without an earlier run, got ${dir} with ${results.slice(0, 3).join(', ')}${results.length > 3 ? ', …' : ''}; `
    + 'try another .output(folder) / output_dir, .resume() / resume_from_checkpoint to go on, or .overwrite() / overwrite_output_dir to lose it',
    { dir, found: results })
}

/** Two runs that write to one folder spoil each other. */
function refuseLiveRun(dir: string): void {
  const events = readLog(path.join(dir, metricsName))
  const started = newest(events, (event) => event.type === 'started')
  const state = verdict(events, Date.now())
  if (started?.type === 'started' && (state === 'training' || state === 'paused')) throw busy(dir, started.pid, state)
  const record = readControl(dir), turn = newest(events, isTurn)
  const isOver = (turn?.type === 'done' || turn?.type === 'failed') && record !== null && turn.time >= record.time
  if (record !== null && livesHere(record) && !isOver) throw busy(dir, record.pid, 'starting')
}

function busy(dir: string, pid: number, state: string): PlanError {
  return new PlanError('plan.outputBusy', `process ${pid} is ${state} in ${dir}; stop it first, with attach(folder) and its stop(), or try another .output(folder)`, { dir, pid })
}

/** Removes what an earlier run made here; the folder of the model itself is never touched. */
function clear(dir: string, plan: Plan): void {
  const isModel = fs.existsSync(plan.model) && path.resolve(plan.model) === dir
  for (const name of list(dir)) {
    const ours = checkpointName.test(name) || name === metricsName || name === workerLogName || name === controlName || (!isModel && finalNames.includes(name))
    if (ours) fs.rmSync(path.join(dir, name), { recursive: true, force: true })
  }
}
