import { setThreads } from 'fettle-native'
import type { Row, RowReader } from 'fettle/dist/data/dataset'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { Random } from 'fettle/dist/models/random'
import { openWeights } from 'fettle/dist/models/weights'
import { defaultPlan } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { Trainer } from 'fettle/dist/train/trainer'
import type { Recompute } from 'fettle/dist/train/walk'
import { Windows } from 'fettle/dist/train/windows'
import { openAdapter } from 'fettle/dist/worker/adapters'
import { computeType } from 'fettle/dist/worker/session'
import { fixture } from './paths'

/** Rows that live in memory. */
export function memoryRows(rows: readonly Row[], hash = 'rows of a test'): RowReader {
  const supervised = (index: number): number => rows[index].labels.filter((label, t) => t > 0 && label !== -100).length
  const sum = (of: (index: number) => number): number => rows.reduce((total, _, i) => total + of(i), 0)
  return {
    rows: rows.length, row: (index) => rows[index], length: (index) => rows[index].inputIds.length, supervised,
    split: { file: '', rows: rows.length, tokens: sum((i) => rows[i].inputIds.length), supervised: sum(supervised), truncated: 0, sources: [], template: 'plain', preview: { text: '', ids: [], labels: [], tokens: [] }, notes: [], longest: Math.max(...rows.map((row) => row.inputIds.length)), hash }
  }
}

/** `count` rows of random ids with lengths that differ; the first part of each is not supervised. */
export function randomRows(count: number, seed = 1): Row[] {
  const random = new Random(seed), below = (n: number): number => Math.floor(random.uniform() * n)
  return Array.from({ length: count }, () => {
    const length = 4 + below(20), source = 1 + below(3)
    const inputIds = Int32Array.from({ length }, () => 3 + below(300))
    return { inputIds, labels: inputIds.map((id, t) => (t < source ? -100 : id)) }
  })
}

export type PlanChanges = { readonly [K in keyof Plan]?: Plan[K] }

/** A plan with only what a test of the trainer says. */
export function trainerPlan(changes: PlanChanges): Plan {
  return { ...defaultPlan('tiny'), ...changes }
}

/** A trainer over a golden model (or the folder of another one), with plain blocks unless others are asked for; with `plan.lora` an adapter trains. */
export function tinyTrainer(plan: Plan, rows: RowReader, options: { golden?: string; model?: string; recompute?: Recompute; checkpoint?: string; blocks?: 'auto' | 'plain' } = {}): Trainer {
  setThreads(1) // tiny products: a second thread only waits
  const parameters = loadParameters(openWeights(options.model ?? fixture('golden', options.golden ?? 'llama-v2-gqa')), { dtype: computeType(plan), device: 'cpu', train: plan.lora === null && plan.prefix === null })
  openAdapter(plan, parameters, options.checkpoint)
  // Neighbouring rows trade places in odd epochs, so that order depends on the epoch as in a real run.
  const order = (epoch: number): number[] => Array.from({ length: rows.rows }, (_, i) => (epoch % 2 === 1 && (i ^ 1) < rows.rows ? i ^ 1 : i))
  return new Trainer({ plan, decoder: new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype: parameters.dtype, blocks: options.blocks ?? 'plain', autocast: plan.precision === 'fp16' && plan.fp16.level === 'O1' })), rows, windows: new Windows(rows.rows, plan.batch, plan, order), recompute: options.recompute ?? false })
}

export function freeTrainer(trainer: Trainer): void {
  trainer.free()
  trainer.parts.decoder.free()
  trainer.parameters.free()
}
