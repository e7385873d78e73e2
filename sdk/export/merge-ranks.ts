import * as fs from 'node:fs'
import * as path from 'node:path'
import { isAdapterFolder } from '../adapters/peft-config'
import { CheckpointError } from '../errors'
import { openWeights } from '../models/weights'
import { formatOf } from '../models/weights/hugging-face'
import { paddleFiles } from '../models/weights/paddle'
import { PartWeights } from '../models/weights/parts'
import { findCheckpoint, type Warn } from '../train/checkpoints'
import { manifestName, verifyManifest } from '../train/manifest'
import { convertModel, type ConvertOptions } from './convert'

/** What is merged, where it goes and as what. */
export interface MergeRanksOptions extends Omit<ConvertOptions, 'model' | 'output'> {
  /** A checkpoint, a run's output folder (of which the newest whole checkpoint is taken), or a folder with PaddleNLP's shards. */
  readonly checkpoint: string
  /** Default: `merged` in the checkpoint. */
  readonly output?: string
  readonly warn: Warn
}

/** What was merged into which folder. */
export interface MergedRanks {
  readonly output: string
  readonly files: readonly string[]
  /** How many wrote the parts; 1: nothing had to be merged, and the weights were copied. */
  readonly ranks: number
}

/**
 * Writes the model in a checkpoint as a Hugging Face folder, whatever mesh wrote it: the bytes that the run itself would have
 * written as its final weights. Files are compared with their manifest first; then one weight at a time is put together, rounded
 * once and written. Without `dtype` weights have the number type that the run computes in.
 * @throws CheckpointError `checkpoint.missing`, `checkpoint.broken`, `checkpoint.parts`, `checkpoint.adapter`; ModelError `model.*`
 */
export async function mergeRanks({ checkpoint, output, warn, ...options }: MergeRanksOptions): Promise<MergedRanks> {
  const folder = await wholeFolder(checkpoint, warn), target = output ?? path.join(folder, 'merged')
  return { output: target, files: convertModel({ ...options, model: folder, output: target }), ranks: ranksOf(folder) }
}

/** The folder to read: verified where it is a checkpoint. */
async function wholeFolder(folder: string, warn: Warn): Promise<string> {
  if (!fs.statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new CheckpointError('checkpoint.missing', `expected the folder of a checkpoint to merge, got ${folder}, which is none; try output/checkpoint-N`, { folder })
  }
  refuseAdapter(folder)
  if (fs.existsSync(path.join(folder, manifestName))) await verifyManifest(folder)
  else if (formatOf(folder) === undefined && paddleFiles(folder).length === 0) {
    const found = (await findCheckpoint(folder, folder, warn)).folder
    refuseAdapter(found)
    return found
  }
  return folder
}

function refuseAdapter(folder: string): void {
  if (isAdapterFolder(folder)) throw new CheckpointError('checkpoint.adapter', `${folder} holds an adapter, which is whole whatever mesh trained it; use it as it is (fettle generate ${folder}), or put it into its model with fettle merge-lora MODEL ${folder} OUTPUT`, { folder })
}

function ranksOf(folder: string): number {
  const weights = openWeights(folder)
  weights.close()
  return weights instanceof PartWeights ? weights.joined.ranks : weights.kind === 'paddle' ? Math.max(1, new Set(paddleFiles(folder).map((name) => /tp\d+/.exec(name)?.[0])).size) : 1
}
