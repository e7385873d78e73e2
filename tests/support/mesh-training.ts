// What a rank does in the tests that compare training on meshes: trains each case's tiny model and writes what came of it.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { ops, scope, tensor, type Tensor } from 'fettle-native'
import { tinyModel } from 'fettle/dist/examples/tiny'
import { specialIds } from 'fettle/dist/examples/byte-tokenizer'
import type { Row } from 'fettle/dist/data/dataset'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Random } from 'fettle/dist/models/random'
import { openWeights, readSafetensors, writeSafetensors } from 'fettle/dist/models/weights'
import { loadRank, rankDecoder } from 'fettle/dist/parallel/open'
import { partOf, writeParts } from 'fettle/dist/parallel/parts'
import { defaultLora, defaultPrefix } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { Trainer } from 'fettle/dist/train/trainer'
import { Windows } from 'fettle/dist/train/windows'
import { openAdapter } from 'fettle/dist/worker/adapters'
import { memoryRows, trainerPlan, type PlanChanges } from './trainer'
import type { Here, VisitOf } from './rank'

export const families = ['llama', 'bloom', 'opt', 'qwen', 'chatglm', 'chatglm2'] as const
export type Family = (typeof families)[number]

export const steps = 20

/**
 * Steps of two micro-batches of four rows, the last of an epoch with a micro-batch of two: fewer than four data ranks.
 *
 * Adam divides a gradient by its own size, so that one which is zero in exact arithmetic (a key's bias changes no softmax)
 * moves its weight by a whole learning rate in the direction of its rounding. An epsilon of 1e-4 stands far above such rounding (1e-8)
 * and below the gradients that teach (1e-2): the former then stay, and every weight is compared by the same measure.
 */
const common = { batch: { size: 4, evalSize: 4, accumulate: 2, tokens: null }, steps } as const
const optimizer = (learningRate: number): Plan['optimizer'] => ({ learningRate, weightDecay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-4, maxGradNorm: 1 })

export const methods = {
  SFT: { ...common, optimizer: optimizer(3e-3) },
  LoRA: { ...common, method: 'lora', lora: { ...defaultLora, rank: 8, plusRatio: 2 }, optimizer: optimizer(1e-2) },
  DoRA: { ...common, method: 'lora', lora: { ...defaultLora, rank: 8, dora: true }, optimizer: optimizer(1e-2) },
  prefix: { ...common, method: 'prefix', prefix: { ...defaultPrefix, tokens: 5 }, optimizer: optimizer(0.2) },
  'prefix with encoder': { ...common, method: 'prefix', prefix: { ...defaultPrefix, tokens: 5, projection: true }, optimizer: optimizer(2e-2) },
} satisfies Record<string, PlanChanges>
export type Method = keyof typeof methods

export interface Case {
  readonly family: Family
  readonly method: Method
  readonly blocks: 'plain' | 'auto'
  /** Of the tiny model. */
  readonly layers: 2 | 4
}

export function caseName({ family, method, blocks, layers }: Case): string { return `${family}-${method.replaceAll(' ', '-')}-${blocks}-${layers}` }

/** A model's folder among those of all cases. */
export function modelName({ family, layers }: Pick<Case, 'family' | 'layers'>): string { return `${family}-${layers}` }

/** What each rank is told: folder of the models, where it writes, and what it trains on which mesh. */
export interface Training { readonly models: string; readonly out: string; readonly cases: Readonly<Record<string, readonly Case[]>> }

/** What a rank says of a case. */
export interface Trained { readonly losses: readonly number[]; readonly norms: readonly number[] }

/** A tiny model whose biases and norms are not what they begin as, over a vocabulary that four ranks cannot divide evenly. */
export function meshModel(folder: string, family: Family, layers: number): void {
  tinyModel(family, folder, { layers })
  const config = JSON.parse(fs.readFileSync(path.join(folder, 'config.json'), 'utf8')) as Record<string, unknown>, random = new Random(7)
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ ...config, vocab_size: 270, ...('padded_vocab_size' in config ? { padded_vocab_size: 270 } : {}) }))
  scope(() => {
    const noisy = ([name, value]: [string, Tensor]): [string, Tensor] => {
      const rows = value.shape[0] === 272 ? ops.narrow(value, 0, 0, 270) : value
      return [name, ops.add(rows, noise(rows.shape, random))]
    }
    writeSafetensors(path.join(folder, 'model.safetensors'), new Map([...readSafetensors(path.join(folder, 'model.safetensors'))].map(noisy)))
  })
}

function noise(shape: readonly number[], random: Random): Tensor {
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 0.05 * random.normal())
  return tensor(values, shape)
}

/**
 * Rows of lengths that differ, some with one label, some with none: the last two of the first epoch, a micro-batch of their
 * own, are such. Each has the marks that GLM's prompts need.
 */
export function meshRows(): Row[] {
  const random = new Random(3), below = (n: number): number => Math.floor(random.uniform() * n)
  return Array.from({ length: 22 }, (_, i) => {
    const text = (length: number): number[] => Array.from({ length }, () => 10 + below(255))
    const prompt = [...text(1 + below(6)), specialIds.gmask, specialIds.start], answer = text(i % 5 === 0 ? 1 : 2 + below(8))
    return { inputIds: Int32Array.from([...prompt, ...answer]), labels: Int32Array.from([...prompt.map(() => -100), ...answer.map((id) => ([3, 7, 12, 17].includes(i) ? -100 : id))]) }
  })
}

/** A trainer over this rank's part of a tiny model. */
export function meshTrainer({ mesh, ranks }: Here, model: string, blocks: Case['blocks'], plan: Plan, rows = meshRows()): { readonly trainer: Trainer; free(): void } {
  const weights = openWeights(model), reader = memoryRows(rows)
  const parameters = loadRank(weights, { dtype: 'float32', device: 'cpu', train: plan.method === 'sft' }, mesh, ranks)
  openAdapter(plan, parameters)
  const decoder = rankDecoder(parameters, chooseBlocks({ device: 'cpu', dtype: 'float32', blocks }), ranks)
  const order = (epoch: number): number[] => Array.from({ length: rows.length }, (_, i) => (i * 5 + epoch) % rows.length)
  const trainer = new Trainer({ plan, decoder, rows: reader, windows: new Windows(rows.length, plan.batch, plan, order), recompute: false, ranks })
  return { trainer, free() { trainer.free(); decoder.free(); parameters.free(); weights.close() } }
}

export const visit: VisitOf<Training> = (here, { models, out, cases }) => {
  const folder = path.join(out, here.name || 'alone')
  fs.mkdirSync(folder, { recursive: true })
  for (const each of cases[here.name]) scope(() => {
    const { trainer, free } = meshTrainer(here, path.join(models, modelName(each)), each.blocks, trainerPlan(methods[each.method])), { parameters } = trainer
    const seen = Array.from({ length: steps }, () => trainer.next())
    const trained: Trained = { losses: seen.map(({ loss }) => loss), norms: seen.map(({ gradNorm }) => gradNorm) }
    fs.writeFileSync(path.join(folder, `${caseName(each)}-${here.ranks.rank}.json`), JSON.stringify(trained))
    writeParts(folder, caseName(each), here.ranks.rank, parameters.trainable().flatMap((parameter) => partOf(parameter, parameters, parameters.flat!.master, parameter.name, here.ranks) ?? []))
    free()
  })
}
