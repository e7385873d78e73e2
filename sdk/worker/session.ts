import { devices, manualSeed, noGrad, scope, setThreads, showProgress, Store, tensor, type Device } from 'fettle-native'
import type { Adapter } from '../adapters/adapter'
import type { PreparedData, PreparedSplit, RowReader } from '../data/dataset'
import { resolveData } from '../data/builtin/resolve'
import { discoverData, requireSplit } from '../data/discover'
import { rowEncoder, templateText, type RowEncoder } from '../data/encode'
import { openRows } from '../data/arrow-reader'
import { epochOrder } from '../data/order'
import { Packs, paddingShare } from '../data/packing'
import { prepare, type PrepareOptions } from '../data/prepare'
import { RowStream, streamHash } from '../data/stream'
import { DataError, PlanError } from '../errors'
import { chooseBlocks } from '../models/blocks/fused'
import type { Decoder } from '../models/decoder'
import { chooseDevice } from '../models/device'
import { resolveModel } from '../models/hub/resolve'
import { familyOf } from '../models/families'
import type { LoadOptions } from '../models/load'
import { noiseSeed } from '../models/noise'
import type { Parameters } from '../models/parameters'
import type { Quantization } from '../models/quantized/codes'
import { openWeights } from '../models/weights'
import { Control } from '../parallel/control'
import { refuseMesh } from '../parallel/mesh/fit'
import { meshText, worldSize } from '../parallel/mesh/mesh'
import { loadRank, rankDecoder } from '../parallel/open'
import { meetRemote, type Meeting } from '../parallel/meet'
import { forkOnSharedCores, threadsOf } from '../parallel/processes'
import { Ranks, waits } from '../parallel/ranks'
import { meshShape } from '../parallel/mesh/shape'
import type { DataPlan, Plan } from '../plan/plan'
import type { PreparedEvent } from '../run/events'
import { readBase, type MemoryBase } from '../profile/memory'
import { loadTokenizer, type Tokenizer } from '../tokenizers'
import type { Warn } from '../train/checkpoints'
import type { TokenOptions } from '../train/generate'
import { largestPass, shardsOfMicroBatch, sharersOf, type PassCut } from '../train/cut'
import { Trainer } from '../train/trainer'
import { StreamWindows } from '../train/stream-windows'
import type { Recompute } from '../train/walk'
import { Windows } from '../train/windows'
import { openAdapter } from './adapters'
import { availableMemory, planMemory, type LargestBatch } from './memory'
import { Followers } from './ranks/followers'
import type { Reporter } from './reporter'
import { refuseState } from './state-memory'

/** Everything of one run, ready for its first step. */
export interface Session {
  readonly plan: Plan
  /** Absolute path of the output folder. */
  readonly output: string
  /** The model's folder or file on this machine. */
  readonly modelPath: string
  readonly tokenizer: Tokenizer
  readonly encoder: RowEncoder
  readonly data: PreparedData
  readonly dev: RowReader | null
  /** Rows of test.json, where the plan predicts. */
  readonly test: RowReader | null
  readonly decoder: Decoder
  readonly adapter: Adapter | null
  /** `null` when the plan does not train. */
  readonly trainer: Trainer | null
  /** Tokens of the largest training batch; evaluation stays within it. */
  readonly mostTokens: number | undefined
  readonly ranks: Ranks
  /** The wire to the other ranks; `null`: there are none. */
  readonly control: Control | null
  /** The other ranks of this machine, where this process started them. */
  readonly followers: Followers | null
  /** What this process held before it read the model. */
  readonly base: MemoryBase
}

/** What a session begins from. */
export interface SessionOrigin {
  /** Folder of the checkpoint that the run goes on from. */
  readonly checkpoint: string | null
  /** Where it meets other ranks that a launcher started; `null`: it starts them itself, on this machine. */
  readonly meeting: Meeting | null
}

/** This rank's part of the model, with what trains. */
export interface OpenedModel { readonly decoder: Decoder; readonly adapter: Adapter | null }

/**
 * Finds the model, prepares the data in its own process while the weights load, and puts trainer and adapter together.
 * @param signal ends the preparation
 */
export async function openSession(plan: Plan, output: string, reporter: Reporter, signal: AbortSignal, { checkpoint, meeting }: SessionOrigin): Promise<Session> {
  const base = readBase()
  const modelPath = await resolveModel(plan.model, { onProgress: ({ stage, received, total }) => reporter.progress(`model: ${stage}`, received, total ?? null) })
  const tokenizer = loadTokenizer(modelPath)
  const located = await dataOf(plan, reporter)
  const preparing = prepareData(plan, located, modelPath, reporter, signal)
  // The weights load while the other process tokenises; its failure is met below.
  preparing.catch(() => undefined)
  await new Promise((resolve) => setImmediate(resolve))
  refuseLarge(plan, modelPath, meeting)
  const { ranks, followers } = await meetRanks(plan, modelPath, output, checkpoint, meeting)
  try {
    reporter.progress('model: read weights', 0, null)
    const { decoder, adapter } = openModel(plan, modelPath, ranks, checkpoint), control = ranks.groups.command && new Control(ranks.groups.command)
    const data = await preparing
    control?.tell({ kind: 'open', data, located, checkpoint })
    const [dev, test] = [data.dev, data.test].map((split) => split && openRows(split))
    const training = plan.train ? openTrainer({ plan, located, decoder, data, modelPath, tokenizer, warn: reporter.warn, ranks }) : null
    if (control !== null) decoder.together = { begin: (prompts, options) => control.tell({ kind: 'generate', prompts, options: options as TokenOptions }), agree: (ids) => control.agree(ids), go: (on) => control.go(on) }
    return { plan, output, modelPath, tokenizer, encoder: rowEncoder(tokenizer, plan.data), data, dev, test, decoder, adapter, trainer: training?.trainer ?? null, mostTokens: training?.largest, ranks, control, followers, base }
  } catch (error) {
    const cause = await followers?.explain(error) ?? error
    await followers?.close()
    throw cause
  }
}

/** Before other ranks start and weights are read: what this machine cannot hold is refused. @throws TrainingError `train.memory` */
function refuseLarge(plan: Plan, modelPath: string, meeting: Meeting | null): void {
  const gpus = onGpus(plan), here = meeting?.localWorldSize ?? worldSize(meshShape(plan.mesh))
  refuseState(plan, modelPath, availableMemory(gpus ? `cuda:${meeting?.localRank ?? 0}` : 'cpu'), gpus ? 1 : here)
}

/** Starts the other ranks of this machine and meets them, or meets those that a launcher started. */
async function meetRanks(plan: Plan, modelPath: string, output: string, checkpoint: string | null, meeting: Meeting | null): Promise<{ readonly ranks: Ranks; readonly followers: Followers | null }> {
  const shape = meshShape(plan.mesh), count = worldSize(shape)
  if (count === 1) return { ranks: Ranks.alone(), followers: null }
  refuseImpossible(plan, modelPath)
  if (meeting !== null) return { ranks: await meetRemote(shape, meeting, onGpus(plan)), followers: null }
  const followers = new Followers({ plan, modelPath, output, checkpoint }, count)
  try {
    showProgress(followers.progressFile(0))
    await followers.here()
    const store = Store.file(followers.store, count, waits.start)
    return { ranks: Ranks.join(shape, { store, rank: 0, timeout: waits.collective, commandTimeout: waits.command, address: '127.0.0.1', gpu: onGpus(plan) }), followers }
  } catch (error) {
    const cause = await followers.explain(error)
    await followers.close()
    throw cause
  }
}

/** @throws PlanError `mesh.*` */
function refuseImpossible(plan: Plan, modelPath: string): void {
  const { dp, tp, pp, sharding } = plan.mesh
  if (plan.deterministic && (tp > 1 || pp > 1 || sharding.degree > 1 || shardsOfMicroBatch % dp !== 0)) {
    throw new PlanError('mesh.deterministic', `deterministic sums are for 1, 2 or 4 data-parallel ranks, got ${meshText(meshShape(plan.mesh))}; try .dp(2), or leave .deterministic() / deterministic out`, { mesh: plan.mesh })
  }
  const weights = openWeights(modelPath), gpus = devices().filter(({ kind }) => kind === 'cuda').length
  try {
    refuseMesh(plan.mesh, familyOf(weights.config).architecture(weights.config), plan.device === 'cpu' || gpus === 0 ? null : gpus)
  } finally {
    weights.close()
  }
}

/** Reads this rank's part of the model and puts on it what trains. */
export function openModel(plan: Plan, modelPath: string, ranks: Ranks, checkpoint: string | null): OpenedModel {
  // Products of several threads may be summed in another order than those of one.
  setThreads(plan.deterministic && plan.threads === null ? 1 : threadsOf(ranks.local.size, plan.threads))
  const { index } = ranks.data, { pp } = ranks.place
  // Dropout draws from it: the same on ranks that hold the same hidden states, another on each stage and each share of the rows.
  // A resume brings the checkpoint's state back.
  manualSeed(index === 0 && pp === 0 ? plan.seed : noiseSeed(plan.seed, index, pp))
  const device = rankDevice(plan, ranks)
  const parameters = loadModel(plan, modelPath, device, ranks)
  const adapter = openAdapter(plan, parameters, checkpoint)
  const blocks = chooseBlocks({ device, dtype: parameters.dtype, blocks: plan.blocks, autocast: plan.precision === 'fp16' && plan.fp16.level === 'O1' })
  return { decoder: rankDecoder(parameters, blocks, ranks), adapter }
}

/** Whether a plan computes on GPUs here. */
export function onGpus({ device }: Plan): boolean { return deviceOf(device) !== 'cpu' }

function deviceOf(asked: Plan['device']): Device { return chooseDevice(asked, { gpu: "device 'cuda'", instead: ".device('cpu'), or npm run doctor" }) }

/** The CPU, or a GPU of each rank's own. */
function rankDevice(plan: Plan, ranks: Ranks): Device {
  const device = deviceOf(plan.device)
  return device === 'cpu' || ranks.size === 1 ? device : `cuda:${ranks.local.rank}`
}

/** The plan's data with the folder or file that its name means on this machine. */
async function dataOf({ data }: Plan, reporter: Reporter): Promise<DataPlan> {
  if (data.path === null) throw new PlanError('plan.data', "expected training data; try .data('folder') with train.json, or --dataset_name_or_path", {})
  return { ...data, path: await resolveData(data.path, ({ stage, received, total }) => reporter.progress(`data: ${stage}`, received, total ?? null)) }
}

/** Which splits a plan asks for, and on how many cores they are prepared. */
export function neededSplits({ train, predict, evaluate, evalAtEnd, threads, data: { lazy } }: Plan): Pick<PrepareOptions, 'require' | 'skip' | 'cores'> {
  const evaluates = evaluate.by !== 'no' || evalAtEnd
  return { require: [...(train && !lazy ? ['train' as const] : []), ...(evaluates ? ['dev' as const] : []), ...(predict ? ['test' as const] : [])], skip: train && !lazy ? [] : ['train'], ...(threads === null ? {} : { cores: threads }) }
}

async function prepareData(plan: Plan, located: DataPlan, modelPath: string, reporter: Reporter, signal: AbortSignal): Promise<PreparedData> {
  const data = await prepare(located, modelPath, {
    ...neededSplits(plan), start: forkOnSharedCores(),
    onProgress: ({ split, bytes, totalBytes }) => reporter.progress(`preparing ${split}`, bytes, totalBytes), signal,
  })
  for (const split of ['train', 'dev', 'test'] as const) {
    const found = data[split]
    if (found === null) continue
    const { rows, tokens, supervised, truncated, preview } = found
    reporter.event({ type: 'prepared', split, rows, tokens, supervised, truncated, preview, ...(split === 'train' && plan.data.packing ? { packs: packed(plan, found) } : {}) })
    for (const note of found.notes) reporter.warn(note.code, note.message)
  }
  return data
}

/** What packing makes of the rows. */
function packed(plan: Plan, split: PreparedSplit): PreparedEvent['packs'] {
  const reader = openRows(split), length = (row: number): number => reader.length(row), { maxLength } = plan.data
  const { count } = Packs.greedy(reader.rows, length, maxLength)
  return { count, filled: split.tokens / (count * maxLength), padding: paddingShare(reader.rows, length, plan.batch.size) }
}

/** Type of weights and of what flows between blocks. At level O1 of fp16 both stay fp32. */
export function computeType({ precision, fp16 }: Pick<Plan, 'precision' | 'fp16'>): LoadOptions['dtype'] {
  return precision === 'bf16' ? 'bfloat16' : precision === 'fp16' && fp16.level === 'O2' ? 'float16' : 'float32'
}

/** How frozen weights are kept; `null`: as they compute. */
export function quantizationOf({ quantize }: Plan): Quantization | null {
  return quantize && { algorithm: quantize.algorithm, blockSize: quantize.blockSize, doubleBlockSize: quantize.doubleQuant ? quantize.doubleQuantBlockSize : null }
}

function loadModel(plan: Plan, modelPath: string, device: Device, ranks: Ranks): Parameters {
  const weights = openWeights(modelPath)
  try {
    return noGrad(() => loadRank(weights, { dtype: computeType(plan), device, train: plan.train && plan.method === 'sft', quantize: quantizationOf(plan) }, plan.mesh, ranks))
  } finally {
    weights.close()
  }
}

/** Attention keeps no scores, in either form of the blocks, so that alone it has nothing to save by running again. */
const recomputed = { none: false, core_attn: false, full_attn: 'attention', full: true } as const

/** All ranks run the same again, as they meet on the way: what the one with the least memory needs. */
function agreed(own: Recompute, ranks: Ranks): Recompute {
  const levels: readonly Recompute[] = [false, 'attention', true]
  if (ranks.groups.world === null) return own
  return scope(() => {
    const level = tensor([BigInt(levels.indexOf(own))])
    ranks.groups.world!.allReduce(level, 'max')
    return levels[level.item()]
  })
}

interface TrainerSources { readonly plan: Plan; readonly located: DataPlan; readonly decoder: Decoder; readonly data: PreparedData; readonly modelPath: string; readonly tokenizer: Tokenizer; readonly warn: Warn; readonly ranks: Ranks }

/** What passes are cut for. */
function passShape(plan: Plan, ranks: Ranks): Pick<PassCut<never>, 'ranks' | 'device'> {
  return { ranks: sharersOf(plan, ranks.data.count), device: onGpus(plan) ? 'gpu' : 'cpu' }
}

/** Nothing of a stream is known before its first step, so that memory is planned for rows of full length. */
function openStream({ plan, located: data, decoder, modelPath, tokenizer, warn, ranks }: TrainerSources): { trainer: Trainer; largest: number } {
  const { batch } = plan, shape = passShape(plan, ranks), splits = discoverData(data.path!), seed = data.seed ?? plan.seed
  requireSplit(data.path!, splits, 'train')
  const files = splits.train!, { srcLength, maxLength, system, shuffleBuffer } = data
  const hash = streamHash(files, [tokenizer.fingerprint, templateText(tokenizer, data), srcLength, maxLength, system, shuffleBuffer])
  const windows = new StreamWindows((skip) => new RowStream({ data, modelPath, files, seed, skip }), { batch: { ...batch, size: batch.size * ranks.data.count }, steps: plan.steps!, packed: data.packing ? maxLength : null, ...shape, hash })
  const { rows: most, tokens } = largestPass(batch, maxLength, shape.device), rows = Array.from({ length: most }, (_, row) => row)
  const recompute = agreed(recomputeOf(plan, decoder, { step: 0, rows, tokens }, () => maxLength, warn), ranks)
  return { trainer: new Trainer({ plan, decoder, rows: windows.reader(), windows, recompute, ranks }), largest: tokens }
}

function recomputeOf(plan: Plan, decoder: Decoder, largest: LargestBatch, length: (row: number) => number, warn: Warn): Recompute {
  const { architecture: whole, local, device, flat, adapter } = decoder.parameters
  // What this rank holds of the model.
  const architecture = { ...whole, heads: local.heads, kvHeads: local.kvHeads, intermediateSize: local.intermediateSize, layers: decoder.chunks.reduce((sum, { start, end }) => sum + end - start, 0) }
  const bytesPerValue = computeType(plan) === 'float32' ? 4 : 2
  return planMemory({ architecture, bytesPerValue, trainable: flat!.size, prefix: adapter?.prefix?.tokens, device, asked: recomputed[plan.recompute] }, largest, length, warn).recompute
}

/** What trains on this rank's share of the rows. */
export function openTrainer(sources: TrainerSources): { trainer: Trainer; largest: number } {
  const { plan, decoder, data, warn, ranks } = sources
  if (plan.data.lazy) return openStream(sources)
  const split = data.train! // prepare() was asked to require it
  if (split.supervised === 0) {
    throw new DataError('data.no-labels', `none of the ${split.rows} rows of ${split.sources.join(', ')} has an answer left to train on; fill tgt, or raise maxLength in .data(path, { maxLength: n }) / max_length so that answers are not cut away`, { sources: split.sources, rows: split.rows })
  }
  const rows = openRows(split)
  const length = (row: number): number => rows.length(row)
  const packs = plan.data.packing ? Packs.greedy(rows.rows, length, plan.data.maxLength) : null, count = packs?.count ?? rows.rows
  const windows = new Windows(count, { ...plan.batch, size: plan.batch.size * ranks.data.count }, plan, (epoch) => epochOrder({ rows: count, seed: plan.data.seed ?? plan.seed, epoch }), packs, { length, ...passShape(plan, ranks) })
  const largest = windows.largest(0, length, ranks.data)
  const recompute = agreed(recomputeOf(plan, decoder, largest, length, warn), ranks)
  decoder.blocks.reserve(largest.tokens)
  return { trainer: new Trainer({ plan, decoder, rows, windows, recompute, ranks }), largest: largest.tokens }
}
