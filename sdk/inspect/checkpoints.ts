import * as fs from 'node:fs'
import * as path from 'node:path'
import { CheckpointError } from '../errors'
import { partsIndexName } from '../models/weights/parts'
import type { RunEvent } from '../run/events'
import { metricsName } from '../run/folder'
import { readLog } from '../run/read-log'
import { here } from '../run/remote/address'
import { readManifest, verifyManifest, type Manifest } from '../train/manifest'
import { checkpointsView, type TextAndHtml } from '../views/objects'
import { Shown } from './shown'
import type { CheckpointFacts } from './types'

/** Checkpoints of a run's folder, by step. As a cell's last value it shows a table. */
export class CheckpointList extends Shown implements Iterable<CheckpointFacts> {
  /** @internal Use `checkpoints(folder)`. */
  constructor(
    /** The run's output folder. */
    readonly dir: string,
    /** All of them, lowest step first. */
    readonly checkpoints: readonly CheckpointFacts[],
    /** True: every file was read and compared with its SHA-256. */
    readonly verified: boolean,
  ) {
    super()
    Object.freeze(this)
  }

  /** The one that `.resume()` would take; `null` when none is whole. */
  get newest(): CheckpointFacts | null { return this.checkpoints.find(({ resumes }) => resumes) ?? null }

  [Symbol.iterator](): Iterator<CheckpointFacts> { return this.checkpoints[Symbol.iterator]() }

  protected override view(): TextAndHtml { return checkpointsView(this) }
}

/** Options of {@link checkpoints}. */
export interface CheckpointsOptions {
  /** Reads every file and compares its SHA-256, as a resume does; else sizes alone are compared. Default `false`. */
  readonly verify?: boolean
}

/**
 * Lists the checkpoints of a run: step, time, size, whole or broken, the losses of its step, and which of them
 * `.resume()` would take.
 *
 * @param source The run's output folder, or the run.
 * @throws CheckpointError `checkpoint.missing` when there is no such folder; WorkerError `run.elsewhere` for a run on another host
 */
export async function checkpoints(source: string | { readonly dir: string }, options: CheckpointsOptions = {}): Promise<CheckpointList> {
  const dir = path.resolve(here(typeof source === 'string' ? source : source.dir))
  if (!fs.statSync(dir, { throwIfNoEntry: false })?.isDirectory()) {
    throw new CheckpointError('checkpoint.missing', `expected a run's output folder at ${dir}, found none; try the folder of .output()`, { folder: dir })
  }
  const { verify = false } = options
  const losses = lossesOf(readLog(path.join(dir, metricsName)))
  const found = fs.readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory() && /^checkpoint-\d+$/.test(entry.name))
  const read = await Promise.all(found.map(({ name }) => look(path.join(dir, name), verify)))
  // As a resume chooses: the one written last.
  const newest = read.filter(({ state }) => state === 'whole').sort((a, b) => b.time! - a.time! || b.step - a.step)[0]
  const list = read.map((entry) => ({ ...entry, loss: losses.step.get(entry.step) ?? null, evalLoss: losses.evaluation.get(entry.step) ?? null, resumes: entry === newest }))
  return new CheckpointList(dir, list.sort((a, b) => a.step - b.step), verify)
}

type Looked = Omit<CheckpointFacts, 'loss' | 'evalLoss' | 'resumes'>

async function look(folder: string, verify: boolean): Promise<Looked> {
  const base = { folder, bytes: bytesOf(folder), kind: kindOf(folder) }
  const named = Number(path.basename(folder).slice('checkpoint-'.length))
  let manifest: Manifest | null = null
  try {
    manifest = readManifest(folder)
    if (verify) await verifyManifest(folder)
    else checkSizes(folder, manifest)
    return { ...base, step: manifest.step, time: manifest.time, state: 'whole', reason: null }
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error
    return { ...base, step: manifest?.step ?? named, time: manifest?.time ?? null, state: 'broken', reason: error.message.replace(`${folder}${path.sep}`, '') }
  }
}

function checkSizes(folder: string, manifest: Manifest): void {
  for (const [name, { bytes }] of Object.entries(manifest.files)) {
    const seen = fs.statSync(path.join(folder, name), { throwIfNoEntry: false })?.size
    if (seen === bytes) continue
    const what = seen === undefined ? 'is missing' : `has ${seen} bytes where its manifest says ${bytes}`
    throw new CheckpointError('checkpoint.broken', `${path.join(folder, name)} ${what}. Remove this checkpoint, or resume from an older one.`, { folder, name })
  }
}

function kindOf(folder: string): CheckpointFacts['kind'] {
  const has = (name: string): boolean => fs.existsSync(path.join(folder, name))
  return has('adapter_model.safetensors') ? 'adapter' : ['model.safetensors', 'model.safetensors.index.json', partsIndexName].some(has) ? 'model' : null
}

function bytesOf(folder: string): number {
  return fs.readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const at = path.join(folder, entry.name)
    return sum + (entry.isDirectory() ? bytesOf(at) : fs.statSync(at, { throwIfNoEntry: false })?.size ?? 0)
  }, 0)
}

/** Losses by step; after a resume a step stands twice in the log, and the later one is meant. */
function lossesOf(events: readonly RunEvent[]): { readonly step: ReadonlyMap<number, number>; readonly evaluation: ReadonlyMap<number, number> } {
  const step = new Map<number, number>(), evaluation = new Map<number, number>()
  for (const event of events) {
    if (event.type === 'step') step.set(event.step, event.loss)
    if (event.type === 'eval') evaluation.set(event.atStep, event.loss)
  }
  return { step, evaluation }
}
