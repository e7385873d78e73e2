import * as fs from 'node:fs'
import * as path from 'node:path'
import { baseModelOf } from '../adapters/kind'
import { isAdapterFolder } from '../adapters/peft-config'
import { ModelError, PlanError } from '../errors'
import { defaultGeneration } from '../plan/defaults'
import type { GenerationPlan, Plan } from '../plan/plan'
import { conflict } from '../plan/refuse'
import { AttachedRun } from '../run/attach'
import { metricsName } from '../run/folder'
import { here } from '../run/remote/address'
import { Run } from '../run/run'
import { listCheckpoints } from '../train/checkpoints'
import { readChatOptions, type ChatOptions, type ReadChatOptions } from './options'
import { RunVoice } from './run-voice'
import { savedPlan } from './saved-plan'
import { ServedVoice } from './served-voice'
import type { ChatSide } from './state'
import type { Voice } from './voice'

/** Who answers on one side. */
export interface Side {
  readonly side: ChatSide
  readonly label: string
  readonly voice: Voice
  /** The chat goes on without it: a model that is only there to compare with. */
  readonly optional: boolean
}

/** What `chat()` found behind its target. */
export interface Party {
  readonly title: string
  /** In the order that a reader sees them. */
  readonly sides: readonly Side[]
  readonly generation: GenerationPlan
  readonly system: string | null
}

/** What can be chatted with: a model's name or folder, an adapter's or a run's folder, or a run. */
export type ChatTarget = string | Run | AttachedRun

/**
 * Finds out who answers for a target. Starts nothing.
 * @throws PlanError `plan.value`, `chat.sides`; ModelError `chat.base`, `chat.folder`
 */
export function partyOf(target: ChatTarget, options: ChatOptions): Party {
  if (target instanceof Run || target instanceof AttachedRun) {
    const { plan } = target
    return plan !== null && target.alive ? liveParty(target, plan, options) : folderParty(here(target.dir), options, plan ?? savedPlan(target.dir))
  }
  if (typeof target !== 'string' || target.trim() === '') {
    throw new PlanError('plan.value', "expected a run, a folder or a model's name for chat(), got something else; try chat('builtin:smollm2-135m') or chat(run)", {})
  }
  return folderParty(target, options, savedPlan(target))
}

/** A run's own worker answers for the tuned side, and for the base side too where an adapter can be left out. */
function liveParty(run: Run | AttachedRun, plan: Plan, options: ChatOptions): Party {
  const read = readChatOptions(options, plan)
  if (options.template !== undefined && options.template !== plan.data.template) {
    throw conflict(['template'], `template ${JSON.stringify(options.template)} is not that of the run, whose worker puts the question as it was trained`, 'chat(run) without template, or chat(run.dir, { template })')
  }
  const voice = new RunVoice(run)
  const own = read.base === null && plan.method !== 'sft'
  const base = own ? voice : new ServedVoice({ ...read.serving, model: read.base ?? plan.model, adapter: null }, read.onProgress)
  return party(`${shortName(plan.model)}, tuned in ${path.basename(run.dir)}`, read, plan, [
    { side: 'base', label: `base: ${shortName(read.base ?? plan.model)}`, voice: base, optional: !own },
    { side: 'tuned', label: `tuned: ${path.basename(run.dir)}`, voice, optional: false },
  ])
}

/** @param plan of the run that wrote the folder, where it is known */
function folderParty(name: string, options: ChatOptions, plan: Plan | null): Party {
  const read = readChatOptions(options, plan), found = weightsOf(name)
  const served = (model: string, adapter: string | null): Voice => new ServedVoice({ ...read.serving, model, adapter }, read.onProgress)
  if (found.kind === 'adapter') {
    const model = read.base ?? found.base
    if (model === null) throw new ModelError('chat.base', `the adapter in ${found.folder} does not name its base model; try chat(folder, { base: 'MODEL' })`, { path: found.folder })
    const voice = served(model, found.folder)
    return party(`${shortName(model)} with ${shortName(name)}`, read, plan, [
      { side: 'base', label: `base: ${shortName(model)}`, voice, optional: false },
      { side: 'tuned', label: `tuned: ${shortName(name)}`, voice, optional: false },
    ])
  }
  // A plan that is known names the model that its run began with.
  const base = read.base ?? plan?.model ?? null, tuned = served(found.model, null)
  if (base === null && !found.tuned) return party(shortName(name), read, plan, [{ side: 'base', label: shortName(name), voice: tuned, optional: false }])
  return party(shortName(name), read, plan, [
    ...(base === null ? [] : [{ side: 'base' as const, label: `base: ${shortName(base)}`, voice: served(base, null), optional: true }]),
    { side: 'tuned', label: `tuned: ${shortName(name)}`, voice: tuned, optional: false },
  ])
}

function party(title: string, read: ReadChatOptions, plan: Plan | null, sides: readonly Side[]): Party {
  const chosen = read.sides === null ? sides : sides.filter(({ side }) => read.sides!.includes(side))
  const missing = read.sides?.find((side) => !sides.some((each) => each.side === side))
  if (missing !== undefined) {
    const remedy = missing === 'tuned' ? "an adapter's or a run's folder has a tuned side; a model alone answers as 'base'" : "name the untouched model: chat(target, { base: 'MODEL' })"
    throw new PlanError('chat.sides', `expected ${sides.map(({ side }) => `'${side}'`).join(' or ')} for sides of chat(), got '${missing}', which ${title} does not have; ${remedy}`, { missing })
  }
  // A side that stands alone is not there to compare with.
  const only = chosen.length === 1 ? chosen.map((side) => ({ ...side, optional: false })) : chosen
  return { title, sides: only, generation: read.generation(plan?.sample.generation ?? { ...defaultGeneration, maxNewTokens: 256 }), system: read.system }
}

type Found =
  | { readonly kind: 'adapter'; readonly folder: string; readonly base: string | null }
  /** `tuned`: a run's output, all weights of which were trained. */
  | { readonly kind: 'model'; readonly model: string; readonly tuned: boolean }

/** What a name stands for. Of a run's folder the final weights, else the newest checkpoint. */
function weightsOf(name: string): Found {
  if (!fs.statSync(name, { throwIfNoEntry: false })?.isDirectory()) return { kind: 'model', model: name, tuned: false }
  const has = (file: string): boolean => fs.existsSync(path.join(name, file))
  if (isAdapterFolder(name)) return { kind: 'adapter', folder: path.resolve(name), base: baseModelOf(name) }
  if (has('config.json')) return { kind: 'model', model: name, tuned: has(metricsName) || has('plan.json') }
  if (!has(metricsName)) return { kind: 'model', model: name, tuned: false }
  const [newest] = listCheckpoints(name)
  if (newest === undefined) {
    throw new ModelError('chat.folder', `expected weights in ${path.resolve(name)}, found neither final ones nor a checkpoint; wait until the run has saved, or ask the run itself with chat(run)`, { folder: path.resolve(name) })
  }
  return weightsOf(newest.folder)
}

function shortName(name: string): string { return name.replace(/[\\/]+$/, '').split(/[\\/]/).at(-1) || name }
