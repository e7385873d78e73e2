import * as path from 'node:path'
import { adapterFile } from '../adapters/adapter-files'
import { prefixToGoOn } from '../adapters/kind'
import { readLoraConfig } from '../adapters/peft-config'
import { builtinSplits } from '../data/builtin/place'
import { discoverData, requireSplit } from '../data/discover'
import { PlanError } from '../errors'
import { uploadEndpoint } from '../export/upload/endpoint'
import type { Plan } from '../plan/plan'
import { refusal, unknownName } from '../plan/refuse'
import { validatePlan } from '../plan/validate'
import { reveal, Secret, type Tokens } from '../secret'
import { callHook, displayHook } from '../views/show'
import type { AttachedRun } from './attach'
import { prepareFolder } from './folder'
import type { RemoteStartOptions } from './remote/options'
import { startRemote } from './remote/start'
import { Run, type StartOptions } from './run'

const workerEntry = path.join(__dirname, '..', 'worker.js')

/** Runs of this process whose worker lives, by output folder. */
const runs = new Map<string, Run>()

/**
 * Starts a run in a worker process of its own and gives its handle at once; data, model and training follow as events.
 * Throws a `PlanError` for a plan that cannot run and for an output folder that holds an earlier run, and a `DataError`
 * where the data set lacks a file that the plan needs, a `ModelError` for an adapter to go on from that is none, and a
 * `HubError` where the plan uploads and no access token is there.
 *
 * With `hosts` the ranks start on those, over ssh, and the run is one that `attach('ssh://…')` sees: it goes on when this process
 * ends. Paths are those of the hosts, and the same errors come from there; besides, an `EnvironmentError` `remote.ssh`,
 * `remote.program`, `remote.folder`, `remote.timeout` for a host that cannot be reached, has no Fettle or lacks the folder, and a
 * `WorkerError` `launch.failed`, `launch.timeout` where the ranks do not come up.
 */
export function start(plan: Plan, options?: StartOptions): Promise<Run>
export function start(plan: Plan, options: RemoteStartOptions): Promise<AttachedRun>
export async function start(plan: Plan, options: StartOptions | RemoteStartOptions = {}): Promise<Run | AttachedRun> {
  return 'hosts' in options ? startRemote(plan, options) : launch(plan, options, workerEntry)
}

/** `start` with another worker program. */
export async function launch(plan: Plan, options: StartOptions, entry: string): Promise<Run> {
  checkOptions(options)
  const valid = checkPlan(plan, options.tokens)
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

/** The checked plan, all that it needs from outside being there. */
export function checkPlan(plan: Plan, tokens: Tokens = {}): Plan {
  const valid = validatePlan(plan)
  checkData(valid)
  checkAdapter(valid)
  checkUpload(valid, tokens)
  return valid
}

function checkOptions({ startTimeout, hangTimeout, detached, board, tokens = {} }: StartOptions): void {
  for (const [name, value, usual] of [['startTimeout', startTimeout, 60_000], ['hangTimeout', hangTimeout, 120_000]] as const) {
    if (value !== undefined && !(value > 0)) throw refusal(`${name} of .start()`, 'a number of ms above 0', value, `.start({ ${name}: ${usual} })`)
  }
  for (const [name, value] of Object.entries({ detached, board })) {
    if (value !== undefined && typeof value !== 'boolean') throw refusal(`${name} of .start()`, 'true or false', value, `.start({ ${name}: true })`)
  }
  for (const [name, value] of Object.entries(tokens) as [string, unknown][]) {
    if (name !== 'huggingface' && name !== 'aistudio') throw unknownName('name in tokens of .start()', name, ['huggingface', 'aistudio'])
    const known = value === undefined || value instanceof Secret || (typeof value === 'string' && value !== '')
    if (!known) throw refusal(`${name} in tokens of .start()`, 'a text', '(hidden)', 'an access token from the environment')
  }
}

/** The files are there: found out now rather than after a model was fetched and an old run deleted. */
function checkData(plan: Plan): void {
  const data = plan.data.path!
  const files = builtinSplits(data) ?? discoverData(data)
  if (plan.train) requireSplit(data, files, 'train')
  if (plan.evalAtEnd || plan.evaluate.by !== 'no') requireSplit(data, files, 'dev')
  if (plan.predict) requireSplit(data, files, 'test')
}

/** A token is there for the upload at the end: found out before hours of training. */
function checkUpload({ upload, train }: Plan, tokens: Tokens): void {
  if (upload !== null && train) uploadEndpoint(upload, reveal(tokens[upload.to]))
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
