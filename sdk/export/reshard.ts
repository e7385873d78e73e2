import * as fs from 'node:fs'
import * as path from 'node:path'
import { ops, type Tensor } from 'fettle-native'
import { CheckpointError } from '../errors'
import type { Architecture, NameMap } from '../models/architecture'
import { familyOf } from '../models/families'
import { fileNameOf } from '../models/file-names'
import { elements } from '../models/flat'
import { storedWeights, type StoredPart, type StoredWeight } from '../models/layout'
import type { NamedParameter } from '../models/parameters'
import { cutSize, evenly } from '../models/share'
import { openWeights, resolveModel, writeSafetensors, writeShardedSafetensors, type LazyTensor, type Weights } from '../models/weights'
import { partsIndexName, stateStem, type PartsIndex } from '../models/weights/parts'
import { refuseMesh } from '../parallel/mesh/fit'
import { meshText, placeOf, worldSize, type Place } from '../parallel/mesh/mesh'
import { shareOf } from '../parallel/shares'
import { writeParts, writesPart, type Part } from '../parallel/parts'
import { meshShape } from '../parallel/mesh/shape'
import type { MeshPlan, Plan } from '../plan/plan'
import { findCheckpoint, type Warn } from '../train/checkpoints'
import { writeWhole } from '../train/manifest'
import { isStateFile, openState, readPlan, readTrainingState, stateNames, type SavedState, type TrainingState } from '../train/state'
import { writePartsIndex } from './parts'

/** What is cut anew, for which mesh, and where it goes. */
export interface ReshardOptions {
  /** A checkpoint, or a run's output folder: of it the newest whole checkpoint. */
  readonly checkpoint: string
  readonly mesh: MeshPlan
  /** Folder of the new checkpoint. */
  readonly output: string
  readonly warn: Warn
  /** Called before each rank's file is written. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void
}

/** The checkpoint that was written, and the meshes before and after. */
export interface Resharded { readonly output: string; readonly step: number; readonly before: string; readonly after: string }

/** How a rank holds a tensor, and which others do likewise. */
type Held = Pick<NamedParameter, 'cut' | 'partial'>

/** A checkpoint that is read, and the model that its names are of. */
interface Source { readonly folder: string; readonly plan: Plan; readonly training: TrainingState; readonly saved: SavedState; readonly weights: Weights; readonly architecture: Architecture; readonly names: NameMap }

/**
 * Writes a checkpoint as the ranks of another mesh would have: masters and moments cut for each, one tensor at a time, and the
 * manifest last. A resume on that mesh goes on as one from the original, which each rank cuts as it reads. Generators are those
 * that such a resume begins with: no rank of one mesh has its like in another.
 * @throws PlanError `mesh.*`; CheckpointError `checkpoint.*`
 */
export async function reshard({ checkpoint, mesh, output, warn, onProgress }: ReshardOptions): Promise<Resharded> {
  const { folder, step, manifest } = await findCheckpoint(checkpoint, checkpoint, warn)
  if (path.resolve(output) === path.resolve(folder)) throw new CheckpointError('checkpoint.output', `expected a folder of its own for the new checkpoint, got ${output}, which is the old one; give another`, { output })
  const plan = readPlan(folder), training = readTrainingState(folder), shape = meshShape(mesh), ranks = worldSize(shape)
  const weights = openWeights(plan.method === 'sft' ? folder : await resolveModel(plan.model))
  const family = familyOf(weights.config), architecture = family.architecture(weights.config), names = family.names(architecture)
  refuseMesh(mesh, architecture, null)
  const saved = openState(folder)
  try {
    const source: Source = { folder, plan, training, saved, weights, architecture, names }
    await writeWhole(output, step, (target) => {
      for (const name of Object.keys(manifest.files)) if (!isStateFile(name) && !isWeightFile(name)) copy(folder, target, name)
      if (plan.method === 'sft') writeModel(source, target, ranks)
      if (ranks === 1) writeSafetensors(path.join(target, stateNames.optimizer), new Map(saved.names().map((name) => [name, lazy(saved, name)])))
      else for (let rank = 0; rank < ranks; rank++) {
        onProgress?.({ done: rank, total: ranks })
        writeParts(target, stateStem, rank, partsOf(source, mesh, placeOf(shape, rank)))
      }
      const { mesh: _, ...rest } = training, now: TrainingState = { ...rest, rng: {}, ...(ranks === 1 ? {} : { mesh: shape }) }
      fs.writeFileSync(path.join(target, stateNames.training), `${JSON.stringify(now, null, 1)}\n`)
      fs.writeFileSync(path.join(target, stateNames.plan), `${JSON.stringify({ ...plan, mesh }, null, 1)}\n`)
    })
  } finally {
    saved.close()
    weights.close()
  }
  return { output, step, before: training.mesh === undefined ? '1 rank' : meshText(training.mesh), after: meshText(shape) }
}

/** The weights themselves, which the index of the parts stands for where several ranks hold them. */
function writeModel({ weights, architecture, names }: Source, target: string, ranks: number): void {
  const files = weights.names()
  if (ranks === 1) return void writeShardedSafetensors(target, new Map(files.map((name) => [name, { ...weights.info(name), make: () => weights.read(name) }])), { maxShardBytes: 5e9 })
  const parameters = storedWeights(architecture, names).flatMap(({ parts }) => parts.map(({ name }) => name))
  const known = new Map(parameters.map((name) => [fileNameOf(weights, names.body, name), name]))
  // What is left is a tied head, which stands beside its twin.
  const tensors: PartsIndex['tensors'] = Object.fromEntries(files.map((file) => [file, known.get(file) ?? `${names.embedding}.weight`]))
  writePartsIndex(target, { version: 1, ranks, dtype: weights.info(files[0]).dtype, tensors })
}

function isWeightFile(name: string): boolean { return name === partsIndexName || /^model(-\d+-of-\d+)?\.safetensors(\.index\.json)?$/.test(name) }

function copy(folder: string, target: string, name: string): void {
  fs.mkdirSync(path.dirname(path.join(target, name)), { recursive: true })
  fs.copyFileSync(path.join(folder, name), path.join(target, name))
}

function lazy(saved: SavedState, name: string): LazyTensor { return { dtype: 'float32', shape: saved.shape(name)!, make: () => saved.read(name) } }

/** Of a prefix all ranks hold all. */
const onAll: Held = { cut: null, partial: 'model' }

/** What a rank would write. */
function partsOf({ plan, saved, architecture, names }: Source, mesh: MeshPlan, place: Place): Part<LazyTensor>[] {
  const held = new Map(storedWeights(architecture, names, shareOf(architecture, mesh, place)).flatMap((stored) => stored.parts.map((part) => [part.name, { stored, part }] as const)))
  return saved.names().flatMap((name): Part<LazyTensor>[] => {
    const whole = saved.shape(name)!, found = plan.method === 'prefix' ? onAll : holding(name.replace(/^[^.]+\./, ''), held)
    if (found === null || !writesPart(found, { place })) return []
    const { cut } = found, shape = cut === null ? whole : whole.map((size, dim) => (dim === cut.dim ? cutSize(cut) : size))
    const { start: from, length } = evenly(elements(shape), { index: place.sharding, count: mesh.sharding.degree })
    if (length === 0) return []
    const make = (): Tensor => ops.narrow(ops.reshape(saved.readCut(name, cut), [elements(shape)]), 0, from, length)
    return [{ name, whole, cut, shape, from, length, values: { dtype: 'float32', shape: [length], make } }]
  })
}

/**
 * How a rank holds what a checkpoint names: a weight of the model, or a side of a LoRA, which is cut as the side of the layer that
 * it meets. `null`: another stage does.
 */
function holding(name: string, held: ReadonlyMap<string, { readonly stored: StoredWeight; readonly part: StoredPart }>): Held | null {
  const own = held.get(name)
  if (own !== undefined) return { cut: own.part.cut, partial: own.stored.partial }
  const [, module, side] = /^base_model\.model\.(.+)\.(lora_A\.weight|lora_B\.weight|lora_magnitude_vector)$/.exec(name) ?? []
  const layer = held.get(`${module}.weight`)
  if (layer === undefined) return null
  const { cut } = layer.part, isCut = cut !== null && (cut.dim === 1) === (side === 'lora_A.weight')
  return { cut: isCut ? cut : null, partial: 'tensor' }
}
