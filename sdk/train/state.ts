import { getRngState, ops, scope, setRngState, type Tensor } from 'fettle-native'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { CheckpointError } from '../errors'
import type { NamedParameter, Parameters } from '../models/parameters'
import { takeCut, type Cut } from '../models/share'
import { SafetensorsFile, writeSafetensors } from '../models/weights'
import { meshText, worldSize, type MeshShape } from '../parallel/mesh/mesh'
import { JoinedParts, stateStem } from '../models/weights/parts'
import { partOf, writeParts } from '../parallel/parts'
import type { Ranks } from '../parallel/ranks'
import { completePlan } from '../plan/complete'
import type { Plan } from '../plan/plan'
import type { BestState } from './best'
import type { LossScaleState } from './loss-scale'
import type { AdamW } from './optimizer'

/** Files of a checkpoint beside the weights. */
export const stateNames = { optimizer: 'optimizer.safetensors', training: 'training.json', plan: 'plan.json' } as const

/** Is it of what a resume needs beside the weights? */
export function isStateFile(name: string): boolean { return (Object.values(stateNames) as string[]).includes(name) || /^(optimizer|generators)-rank-\d+\./.test(name) }

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
  /** The ranks that wrote it, each what it holds; left out: one rank. */
  readonly mesh?: MeshShape
  /** Generator states by device, base64: of the first rank. */
  readonly rng: Readonly<Record<string, string>>
}

/** Where the trainer stands, beside the optimizer's own state. */
type Position = Pick<TrainingState, 'step' | 'data' | 'dataStart' | 'learningRate' | 'best' | 'lossScale' | 'taken'>

/** The weights and moments that a checkpoint holds, and which rank of those that train this is. */
export interface LiveState { readonly parameters: Parameters; readonly optimizer: AdamW; readonly ranks: Ranks }

const kinds = ['master', 'exp_avg', 'exp_avg_sq'] as const
type Kind = (typeof kinds)[number]

/** Writes all that a resume needs but the model's own weights: fp32 masters, moments, generator states, position, plan. Of many ranks the first; each also calls `writeRank`. */
export function writeState(folder: string, live: LiveState, { step, data, dataStart, learningRate, best, lossScale, taken }: Position, plan: Plan): void {
  const { ranks } = live
  if (ranks.size === 1) {
    scope(() => {
      const entries = new Map<string, Tensor>()
      for (const parameter of live.parameters.trainable()) for (const kind of kinds) entries.set(`${kind}.${parameter.name}`, wholeOf(live, parameter, kind))
      writeSafetensors(path.join(folder, stateNames.optimizer), entries)
    })
  }
  const training: TrainingState = { version: 1, step, updates: live.optimizer.updates, data, dataStart, learningRate, best, lossScale, taken, rng: randomness(live), ...(ranks.size === 1 ? {} : { mesh: ranks.shape }) }
  fs.writeFileSync(path.join(folder, stateNames.training), `${JSON.stringify(training, null, 1)}\n`)
  fs.writeFileSync(path.join(folder, stateNames.plan), `${JSON.stringify(plan, null, 1)}\n`)
}

/** Writes what a rank of many holds: its parts of masters and moments, and its generators. Nothing is gathered. */
export function writeRank(folder: string, live: LiveState): void {
  const { ranks, parameters } = live
  scope(() => writeParts(folder, stateStem, ranks.rank, parameters.trainable().flatMap((parameter) => kinds.flatMap((kind) =>
    partOf(parameter, parameters, bufferOf(live, kind), `${kind}.${parameter.name}`, ranks) ?? []))))
  fs.writeFileSync(path.join(folder, generatorName(ranks.rank)), `${JSON.stringify(randomness(live))}\n`)
}

function generatorName(rank: number): string { return `generators-rank-${String(rank).padStart(5, '0')}.json` }

function randomness(live: Pick<LiveState, 'parameters'>): TrainingState['rng'] {
  return Object.fromEntries(generators(live).map((device) => [device, Buffer.from(getRngState(device)).toString('base64')]))
}

/** Reads `training.json` of a verified checkpoint. */
export function readTrainingState(folder: string): TrainingState {
  return JSON.parse(fs.readFileSync(path.join(folder, stateNames.training), 'utf8')) as TrainingState
}

/** The plan that a checkpoint was written under; one of an earlier build with the fields that came later, at their defaults. */
export function readPlan(folder: string): Plan {
  return completePlan(JSON.parse(fs.readFileSync(path.join(folder, stateNames.plan), 'utf8'))) as Plan
}

/** Masters and moments of a checkpoint by `KIND.NAME`, whole, whatever mesh wrote it. */
export interface SavedState {
  names(): string[]
  shape(name: string): readonly number[] | undefined
  /** For the caller's scope. */
  read(name: string): Tensor
  /** What a rank holds of it. */
  readCut(name: string, cut: Cut | null): Tensor
  close(): void
}

/** Opens what a checkpoint holds of masters and moments. */
export function openState(folder: string): SavedState {
  const { mesh } = readTrainingState(folder)
  if (mesh !== undefined) return new JoinedParts(folder, stateStem, worldSize(mesh))
  const file = new SafetensorsFile(path.join(folder, stateNames.optimizer))
  // The mapping goes with the tensor: one of the whole file would stay in memory, page by page.
  const read = (name: string): Tensor => {
    const tensor = file.read(name)
    file.close()
    return tensor
  }
  return { names: () => [...file.tensors.keys()], shape: (name) => file.tensors.get(name)?.shape, read, readCut: (name, cut) => takeCut(read(name), cut), close: () => file.close() }
}

/**
 * Brings masters, moments and generators to the checkpoint's, which another mesh may have written: each rank takes its own
 * part. The weights must be attached already, as at a start. Decoders need `weightsChanged()` afterwards.
 * @throws CheckpointError `checkpoint.fit` when the checkpoint is of other weights
 */
export function restoreState(folder: string, live: LiveState): TrainingState {
  const training = readTrainingState(folder)
  restore(folder, live, kinds)
  live.optimizer.updates = training.updates
  for (const [device, state] of Object.entries(savedRandomness(folder, training, live.ranks))) {
    if (generators(live).includes(device)) setRngState(new Uint8Array(Buffer.from(state, 'base64')), device)
  }
  return training
}

/** Of this rank, where the checkpoint's mesh is its own; else a rank begins where its own seed does, but for a run of one rank that goes on as one. */
function savedRandomness(folder: string, { rng, mesh }: TrainingState, ranks: Ranks): TrainingState['rng'] {
  if (mesh === undefined) return ranks.size === 1 ? rng : {}
  const file = path.join(folder, generatorName(ranks.rank))
  return meshText(mesh) === meshText(ranks.shape) && fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) as TrainingState['rng'] : {}
}

/**
 * Brings the weights alone to a checkpoint's. Decoders need `weightsChanged()` afterwards.
 * @throws CheckpointError `checkpoint.fit`
 */
export function restoreWeights(folder: string, live: LiveState): void { restore(folder, live, ['master']) }

function restore(folder: string, live: LiveState, which: readonly Kind[]): void {
  const saved = openState(folder), { parameters } = live
  try {
    scope(() => {
      const trainable = parameters.trainable(), known = new Set<string>()
      for (const parameter of trainable) for (const kind of which) {
        const name = `${kind}.${parameter.name}`, shape = saved.shape(name)
        known.add(name)
        if (shape === undefined || shape.join() !== parameter.whole.join()) throw misfit(folder, parameter.name, parameter.whole, shape)
        const piece = parameters.flat!.own(parameter.start, parameter.value.numel)
        if (piece === null) continue
        scope(() => {
          const own = ops.reshape(saved.readCut(name, parameter.cut), [parameter.value.numel])
          ops.copy_(ops.narrow(bufferOf(live, kind), 0, piece.start, piece.length), ops.narrow(own, 0, piece.from, piece.length))
        })
      }
      // Stages hold weights of their own: only a rank that holds all can tell what is of another model.
      const other = which.length < kinds.length || live.ranks.shape.pp > 1 ? undefined : saved.names().find((name) => !known.has(name))
      if (other !== undefined) throw misfit(folder, other.replace(/^[^.]+\./, ''), undefined, saved.shape(other))
    })
  } finally {
    saved.close()
  }
}

function misfit(folder: string, name: string, expected?: readonly number[], shape?: readonly number[]): CheckpointError {
  const say = (s?: readonly number[]): string => (s === undefined ? 'nothing' : `shape [${s.join(', ')}]`)
  return new CheckpointError('checkpoint.fit',
    `${path.join(folder, stateNames.optimizer)} holds ${say(shape)} for ${name}, this run trains ${say(expected)}; resume with the model, method and LoRA settings of the checkpoint's plan.json, or start afresh`,
    { folder, name, expected: expected ?? null, shape: shape ?? null })
}

function bufferOf({ optimizer }: LiveState, kind: Kind): Tensor {
  return kind === 'master' ? optimizer.flat.master : kind === 'exp_avg' ? optimizer.expAvg : optimizer.expAvgSq
}

/** The parameter's part of the masters or of a moment, on a rank that is alone. */
function wholeOf(live: LiveState, { value, start }: NamedParameter, kind: Kind): Tensor {
  return ops.view(ops.narrow(bufferOf(live, kind), 0, start, value.numel), value.shape)
}

/** Dropout on a GPU draws from the GPU's generator. */
function generators({ parameters }: Pick<LiveState, 'parameters'>): string[] {
  return parameters.device === 'cpu' ? ['cpu'] : ['cpu', parameters.device]
}
