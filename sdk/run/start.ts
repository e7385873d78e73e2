import * as path from 'node:path'
import { adapterFile } from '../adapters/adapter-files'
import { prefixToGoOn } from '../adapters/kind'
import { readLoraConfig } from '../adapters/peft-config'
import { discoverData, requireSplit } from '../data/discover'
import { PlanError } from '../errors'
import type { Plan } from '../plan/plan'
import { refusal } from '../plan/refuse'
import { validatePlan } from '../plan/validate'
import { callHook, displayHook } from '../views/show'
import { prepareFolder } from './folder'
import { Run, type StartOptions } from './run'

const workerEntry = path.join(__dirname, '..', 'worker.js')

/** Runs of this process whose worker lives, by output folder. */
const runs = new Map<string, Run>()

/**
 * Starts a run in a worker process of its own and gives its handle at once; data, model and training follow as events.
 * Throws a `PlanError` for a plan that cannot run and for an output folder that holds an earlier run, and a `DataError`
 * where the data set lacks a file that the plan needs, and a `ModelError` for an adapter to go on from that is none.
 */
export async function start(plan: Plan, options: StartOptions = {}): Promise<Run> { return launch(plan, options, workerEntry) }

/** `start` with another worker program. */
export async function launch(plan: Plan, options: StartOptions, entry: string): Promise<Run> {
  checkOptions(options)
  const valid = validatePlan(plan)
  checkData(valid)
  checkAdapter(valid)
  const dir = path.resolve(valid.output)
  // Nothing awaits between the last look and `runs.set`: of two starts at once into one folder the second is refused.
  for (let earlier = busy(dir); earlier; earlier = busy(dir)) await earlier.close()
  prepareFolder(valid)
  const run = new Run(valid, dir, entry, options)
  runs.set(dir, run)
  callHook(displayHook, run, { board: options.board ?? true })
  void run.gone.then(() => { if (runs.get(dir) === run) runs.delete(dir) })
  return run
}

function checkOptions({ startTimeout, hangTimeout, detached, board }: StartOptions): void {
  for (const [name, value, usual] of [['startTimeout', startTimeout, 60_000], ['hangTimeout', hangTimeout, 120_000]] as const) {
    if (value !== undefined && !(value > 0)) throw refusal(`${name} of .start()`, 'a number of ms above 0', value, `.start({ ${name}: ${usual} })`)
  }
  for (const [name, value] of Object.entries({ detached, board })) {
    if (value !== undefined && typeof value !== 'boolean') throw refusal(`${name} of .start()`, 'true or false', value, `.start({ ${name}: true })`)
  }
}

/** The files are there: found out now rather than after a model was fetched and an old run deleted. */
function checkData(plan: Plan): void {
  const data = plan.data.path!
  const files = discoverData(data)
  if (plan.train) requireSplit(data, files, 'train')
  if (plan.evalAtEnd || plan.evaluate.by !== 'no') requireSplit(data, files, 'dev')
  if (plan.predict) requireSplit(data, files, 'test')
}

/** The adapter to go on from is there and of a kind that can be, for the same reason. */
function checkAdapter({ lora, prefix }: Plan): void {
  const from = (lora ?? prefix)?.from ?? null
  if (from === null) return
  if (prefix !== null) return void prefixToGoOn(prefix, from)
  readLoraConfig(from)
  adapterFile(from)
}

/** An earlier run of this process whose worker still answers questions, and gives its folder up; one that trains keeps it. */
function busy(dir: string): Run | null {
  const earlier = runs.get(dir)
  if (!earlier?.alive) return null
  if (earlier.state !== 'finished' && earlier.state !== 'stopped' && earlier.state !== 'failed') {
    throw new PlanError('plan.outputBusy', `a run of this process is ${earlier.state} in ${dir}; await its stop() first, or try another .output(folder)`, { dir, pid: earlier.pid })
  }
  return earlier
}
