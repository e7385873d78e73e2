import { getRngState, ops, scope, setRngState, type Tensor } from 'fettle-native'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { CheckpointError } from '../errors'
import type { NamedParameter, Parameters } from '../models/parameters'
import { readSafetensors, writeSafetensors } from '../models/weights'
import { completePlan } from '../plan/complete'
import type { Plan } from '../plan/plan'
import type { BestState } from './best'
import type { LossScaleState } from './loss-scale'
import type { AdamW } from './optimizer'

/** Files of a checkpoint beside the weights. */
export const stateNames = { optimizer: 'optimizer.safetensors', training: 'training.json', plan: 'plan.json' } as const

/** `training.json`: where a run stands. Rows follow from step, seed and batch sizes alone, so that there is no other position. */
export interface TrainingState {
  readonly version: 1
  /** Optimizer steps done. */
  readonly step: number
  /** Updates of the optimizer: fewer than steps when some were skipped. */
  readonly updates: number
  /** Which rows: their hash and number. */
  readonly data: { readonly hash: string; readonly rows: number }
  /** Step at which the data was begun, when it was begun again by a resume. */
  readonly dataStart?: number
  /** Base learning rate that a `set` put in the plan's place. */
  readonly learningRate?: number
  /** The best evaluations so far, where the plan compares them. */
  readonly best?: BestState
  /** With fp16: where its loss scale stands. */
  readonly lossScale?: LossScaleState
  /** Of a stream: rows that were taken from it. */
  readonly taken?: number
  /** Generator states by device, base64. */
  readonly rng: Readonly<Record<string, string>>
}

/** Where the trainer stands, beside the optimizer's own state. */
type Position = Pick<TrainingState, 'step' | 'data' | 'dataStart' | 'learningRate' | 'best' | 'lossScale' | 'taken'>

/** The weights and moments that a checkpoint holds. */
export interface LiveState { readonly parameters: Parameters; readonly optimizer: AdamW }

const kinds = ['master', 'exp_avg', 'exp_avg_sq'] as const

/** Writes all that a resume needs but the model's own weights: fp32 masters, moments, generator states, position, plan. */
export function writeState(folder: string, live: LiveState, { step, data, dataStart, learningRate, best, lossScale, taken }: Position, plan: Plan): void {
  scope(() => {
    const entries = new Map<string, Tensor>()
    for (const parameter of live.parameters.trainable()) {
      for (const kind of kinds) entries.set(`${kind}.${parameter.name}`, stateOf(live, parameter, kind))
    }
    writeSafetensors(path.join(folder, stateNames.optimizer), entries)
  })
  const rng = Object.fromEntries(generators(live).map((device) => [device, Buffer.from(getRngState(device)).toString('base64')]))
  const training: TrainingState = { version: 1, step, updates: live.optimizer.updates, data, dataStart, learningRate, best, lossScale, taken, rng }
  fs.writeFileSync(path.join(folder, stateNames.training), `${JSON.stringify(training, null, 1)}\n`)
  fs.writeFileSync(path.join(folder, stateNames.plan), `${JSON.stringify(plan, null, 1)}\n`)
}

/** Reads `training.json` of a verified checkpoint. */
export function readTrainingState(folder: string): TrainingState {
  return JSON.parse(fs.readFileSync(path.join(folder, stateNames.training), 'utf8')) as TrainingState
}

/** The plan that a checkpoint was written under; one of an earlier build with the fields that came later, at their defaults. */
export function readPlan(folder: string): Plan {
  return completePlan(JSON.parse(fs.readFileSync(path.join(folder, stateNames.plan), 'utf8'))) as Plan
}

/**
 * Brings masters, moments and generators to the checkpoint's. The weights must be attached already, as at a start.
 * Decoders need `weightsChanged()` afterwards.
 * @throws CheckpointError `checkpoint.fit` when the checkpoint is of other weights
 */
export function restoreState(folder: string, live: LiveState): TrainingState {
  const training = readTrainingState(folder)
  scope(() => {
    const saved = readSafetensors(path.join(folder, stateNames.optimizer))
    for (const parameter of live.parameters.trainable()) {
      for (const kind of kinds) {
        const target = stateOf(live, parameter, kind), source = saved.get(`${kind}.${parameter.name}`)
        if (source === undefined || source.shape.join() !== target.shape.join()) throw misfit(folder, parameter.name, target.shape, source?.shape)
        ops.copy_(target, source)
      }
      for (const kind of kinds) saved.delete(`${kind}.${parameter.name}`)
    }
    const [other] = saved.keys()
    if (other !== undefined) throw misfit(folder, other.replace(/^[^.]+\./, ''), undefined, saved.get(other)!.shape)
  })
  live.optimizer.updates = training.updates
  for (const device of generators(live)) {
    const state = training.rng[device]
    if (state !== undefined) setRngState(new Uint8Array(Buffer.from(state, 'base64')), device)
  }
  return training
}

/**
 * Brings the weights alone to a checkpoint's. Decoders need `weightsChanged()` afterwards.
 * @throws CheckpointError `checkpoint.fit`
 */
export function restoreWeights(folder: string, { parameters }: Pick<LiveState, 'parameters'>): void {
  scope(() => {
    const saved = readSafetensors(path.join(folder, stateNames.optimizer))
    for (const { name, master } of parameters.trainable()) {
      const source = saved.get(`master.${name}`)
      if (source === undefined || source.shape.join() !== master!.shape.join()) throw misfit(folder, name, master!.shape, source?.shape)
      ops.copy_(master!, source)
    }
  })
}

function misfit(folder: string, name: string, expected?: readonly number[], shape?: readonly number[]): CheckpointError {
  const say = (s?: readonly number[]): string => (s === undefined ? 'nothing' : `shape [${s.join(', ')}]`)
  return new CheckpointError('checkpoint.fit',
    `${path.join(folder, stateNames.optimizer)} holds ${say(shape)} for ${name}, this run trains ${say(expected)}; resume with the model, method and LoRA settings of the checkpoint's plan.json, or start afresh`,
    { folder, name, expected: expected ?? null, shape: shape ?? null })
}

/** The parameter's part of the masters or of a moment: moments are laid out as the masters, so its offset there serves. */
function stateOf({ optimizer }: LiveState, { master }: NamedParameter, kind: (typeof kinds)[number]): Tensor {
  const view = master!
  if (kind === 'master') return view
  const start = (view.dataPointer - optimizer.flat.master.dataPointer) / Float32Array.BYTES_PER_ELEMENT
  return ops.view(ops.narrow(kind === 'exp_avg' ? optimizer.expAvg : optimizer.expAvgSq, 0, start, view.numel), view.shape)
}

/** Dropout on a GPU draws from the GPU's generator. */
function generators({ parameters }: LiveState): string[] {
  return parameters.device === 'cpu' ? ['cpu'] : ['cpu', parameters.device]
}
