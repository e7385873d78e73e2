import { cores, manualSeed, noGrad, setThreads, type Device } from 'fettle-native'
import type { Adapter } from '../adapters/adapter'
import type { PreparedData, PreparedSplit, RowReader } from '../data/dataset'
import { resolveData } from '../data/builtin/resolve'
import { discoverData, requireSplit } from '../data/discover'
import { rowEncoder, templateText, type RowEncoder } from '../data/encode'
import { openRows } from '../data/arrow-reader'
import { epochOrder } from '../data/order'
import { Packs, paddingShare } from '../data/packing'
import { prepare } from '../data/prepare'
import { RowStream, streamHash } from '../data/stream'
import { DataError, PlanError } from '../errors'
import { chooseBlocks } from '../models/blocks/fused'
import { Decoder } from '../models/decoder'
import { chooseDevice } from '../models/device'
import { resolveModel } from '../models/hub/resolve'
import { loadParameters, type LoadOptions } from '../models/load'
import type { Parameters } from '../models/parameters'
import { openWeights } from '../models/weights'
import type { DataPlan, Plan } from '../plan/plan'
import type { PreparedEvent } from '../run/events'
import { loadTokenizer, type Tokenizer } from '../tokenizers'
import { Trainer } from '../train/trainer'
import { StreamWindows } from '../train/stream-windows'
import type { Recompute } from '../train/walk'
import { Windows } from '../train/windows'
import { openAdapter } from './adapters'
import { planMemory, type LargestBatch } from './memory'
import type { Reporter } from './reporter'

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
}

/**
 * Finds the model, prepares the data in its own process while the weights load, and puts trainer and adapter together.
 * @param signal ends the preparation
 */
export async function openSession(plan: Plan, output: string, reporter: Reporter, signal: AbortSignal): Promise<Session> {
  setThreads(plan.threads ?? cores())
  manualSeed(plan.seed) // dropout draws from it; a resume brings the checkpoint's state back
  const device = chooseDevice(plan.device, { gpu: "device 'cuda'", instead: ".device('cpu'), or npm run doctor" })
  const modelPath = await resolveModel(plan.model, { onProgress: ({ stage, received, total }) => reporter.progress(`model: ${stage}`, received, total ?? null) })
  const tokenizer = loadTokenizer(modelPath)
  const located = await dataOf(plan, reporter)
  const preparing = prepareData(plan, located, modelPath, reporter, signal)
  // The weights load while the other process tokenises; its failure is met below.
  preparing.catch(() => undefined)
  await new Promise((resolve) => setImmediate(resolve))
  reporter.progress('model: read weights', 0, null)
  const parameters = loadModel(plan, modelPath, device)
  const adapter = openAdapter(plan, parameters)
  const decoder = new Decoder(parameters, chooseBlocks({ device, dtype: parameters.dtype, blocks: plan.blocks, autocast: plan.precision === 'fp16' && plan.fp16.level === 'O1' }))
  const data = await preparing
  const [dev, test] = [data.dev, data.test].map((split) => split && openRows(split))
  const training = plan.train ? openTrainer({ plan, located, decoder, data, modelPath, tokenizer, reporter }) : null
  return { plan, output, modelPath, tokenizer, encoder: rowEncoder(tokenizer, plan.data), data, dev, test, decoder, adapter, trainer: training?.trainer ?? null, mostTokens: training?.largest }
}

/** The plan's data with the folder or file that its name means on this machine. */
async function dataOf({ data }: Plan, reporter: Reporter): Promise<DataPlan> {
  if (data.path === null) throw new PlanError('plan.data', "expected training data; try .data('folder') with train.json, or --dataset_name_or_path", {})
  return { ...data, path: await resolveData(data.path, ({ stage, received, total }) => reporter.progress(`data: ${stage}`, received, total ?? null)) }
}

async function prepareData(plan: Plan, located: DataPlan, modelPath: string, reporter: Reporter, signal: AbortSignal): Promise<PreparedData> {
  const evaluates = plan.evaluate.by !== 'no' || plan.evalAtEnd
  const data = await prepare(located, modelPath, {
    require: [...(plan.train && !plan.data.lazy ? ['train' as const] : []), ...(evaluates ? ['dev' as const] : []), ...(plan.predict ? ['test' as const] : [])], skip: plan.train && !plan.data.lazy ? [] : ['train'],
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

function loadModel(plan: Plan, modelPath: string, device: Device): Parameters {
  const weights = openWeights(modelPath)
  try {
    return noGrad(() => loadParameters(weights, { dtype: computeType(plan), device, train: plan.train && plan.method === 'sft' }))
  } finally {
    weights.close()
  }
}

/** Attention keeps no scores, in either form of the blocks, so that alone it has nothing to save by running again. */
const recomputed = { none: false, core_attn: false, full_attn: 'attention', full: true } as const

interface TrainerSources { readonly plan: Plan; readonly located: DataPlan; readonly decoder: Decoder; readonly data: PreparedData; readonly modelPath: string; readonly tokenizer: Tokenizer; readonly reporter: Reporter }

/** Nothing of a stream is known before its first step, so that memory is planned for rows of full length. */
function openStream(plan: Plan, data: DataPlan, decoder: Decoder, modelPath: string, tokenizer: Tokenizer, reporter: Reporter): { trainer: Trainer; largest: number } {
  const { batch } = plan, splits = discoverData(data.path!), seed = data.seed ?? plan.seed
  requireSplit(data.path!, splits, 'train')
  const files = splits.train!, { srcLength, maxLength, system, shuffleBuffer } = data
  const hash = streamHash(files, [tokenizer.fingerprint, templateText(tokenizer, data), srcLength, maxLength, system, shuffleBuffer])
  const windows = new StreamWindows((skip) => new RowStream({ data, modelPath, files, seed, skip }), { batch, steps: plan.steps!, packed: data.packing ? maxLength : null, hash })
  const rows = Array.from({ length: batch.size }, (_, row) => row), tokens = batch.size * maxLength
  const recompute = recomputeOf(plan, decoder, { step: 0, rows, tokens }, () => maxLength, reporter)
  return { trainer: new Trainer({ plan, decoder, rows: windows.reader(), windows, recompute }), largest: tokens }
}

function recomputeOf(plan: Plan, decoder: Decoder, largest: LargestBatch, length: (row: number) => number, reporter: Reporter): Recompute {
  const { architecture, device, flat, adapter } = decoder.parameters
  const bytesPerValue = computeType(plan) === 'float32' ? 4 : 2
  return planMemory({ architecture, bytesPerValue, trainable: flat!.size, prefix: adapter?.prefix?.tokens, device, asked: recomputed[plan.recompute] }, largest, length, reporter.warn).recompute
}

function openTrainer({ plan, located, decoder, data, modelPath, tokenizer, reporter }: TrainerSources): { trainer: Trainer; largest: number } {
  if (plan.data.lazy) return openStream(plan, located, decoder, modelPath, tokenizer, reporter)
  const split = data.train! // prepare() was asked to require it
  if (split.supervised === 0) {
    throw new DataError('data.no-labels', `none of the ${split.rows} rows of ${split.sources.join(', ')} has an answer left to train on; fill tgt, or raise maxLength in .data(path, { maxLength: n }) / max_length so that answers are not cut away`, { sources: split.sources, rows: split.rows })
  }
  const rows = openRows(split)
  const length = (row: number): number => rows.length(row)
  const packs = plan.data.packing ? Packs.greedy(rows.rows, length, plan.data.maxLength) : null, count = packs?.count ?? rows.rows
  const windows = new Windows(count, plan.batch, plan, (epoch) => epochOrder({ rows: count, seed: plan.data.seed ?? plan.seed, epoch }), packs)
  const largest = windows.largest(0, length)
  const recompute = recomputeOf(plan, decoder, largest, length, reporter)
  decoder.blocks.reserve(largest.tokens)
  return { trainer: new Trainer({ plan, decoder, rows, windows, recompute }), largest: largest.tokens }
}
