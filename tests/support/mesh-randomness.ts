// What a rank does in the tests of randomness on meshes: trains with dropout and noise, and writes what was drawn.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { ops, scope, type Tensor } from 'fettle-native'
import type { Row } from 'fettle/dist/data/dataset'
import type { Decoder } from 'fettle/dist/models/decoder'
import { Random } from 'fettle/dist/models/random'
import type { Plan } from 'fettle/dist/plan/plan'
import { generate, type TokenOptions } from 'fettle/dist/train/generate'
import { Trainer } from 'fettle/dist/train/trainer'
import type { Recompute } from 'fettle/dist/train/walk'
import { Windows } from 'fettle/dist/train/windows'
import { openModel } from 'fettle/dist/worker/session'
import type { Here, VisitOf } from './rank'
import { memoryRows } from './trainer'

/** A mask that dropout drew, one bit a value as hexadecimal. */
export interface Mask { readonly layer: number; readonly place: string; readonly shape: readonly number[]; readonly mask: string }

/** What a rank drew in two steps. */
export interface Drawn { readonly losses: readonly number[]; readonly masks: readonly Mask[]; readonly noise: readonly (readonly number[])[] }

/** A run by its name, and prompts that a last one continues. */
export interface Randomness {
  readonly model: string
  readonly out: string
  readonly runs: Readonly<Record<string, { readonly plan: Plan; readonly recompute: Recompute }>>
  readonly prompts: readonly (readonly number[])[]
  readonly sampling: readonly TokenOptions[]
}

/** Rows of one length, so that what two ranks draw has one shape. */
export function equalRows(): Row[] {
  const random = new Random(3)
  return Array.from({ length: 8 }, () => {
    const inputIds = Int32Array.from({ length: 9 }, () => 10 + Math.floor(random.uniform() * 200))
    return { inputIds, labels: inputIds }
  })
}

export const visit: VisitOf<Randomness> = (here, { model, out, runs, prompts, sampling }) => {
  const folder = path.join(out, here.name || 'alone'), write = (name: string, value: unknown): void => fs.writeFileSync(path.join(folder, `${name}-${here.ranks.rank}.json`), JSON.stringify(value))
  fs.mkdirSync(folder, { recursive: true })
  for (const [name, { plan, recompute }] of Object.entries(runs)) write(name, scope(() => drawn(here, { ...plan, mesh: here.mesh }, model, recompute)))
  const { decoder } = openModel({ ...Object.values(runs)[0].plan, mesh: here.mesh }, model, here.ranks, null)
  write('sampled', sampling.map((options) => generate(decoder, prompts, options)))
  decoder.free()
  decoder.parameters.free()
}

function drawn({ ranks }: Here, plan: Plan, model: string, recompute: Recompute): Drawn {
  const { decoder } = openModel(plan, model, ranks, null), rows = equalRows(), noise: number[][] = []
  const order = (): number[] => rows.map((_, i) => i)
  const trainer = new Trainer({ plan, decoder, rows: memoryRows(rows), windows: new Windows(rows.length, plan.batch, plan, order), recompute, ranks })
  watchNoise(decoder, noise)
  const masks: Mask[] = [], stop = watchDropout(decoder, masks)
  const losses = [trainer.next().loss, trainer.next().loss]
  stop()
  trainer.free()
  decoder.free()
  decoder.parameters.free()
  return { losses, masks, noise }
}

/** Keeps each mask that dropout draws, with the place that it is drawn for. */
function watchDropout(decoder: Decoder, masks: Mask[]): () => void {
  const changed = ops as { native_dropout: typeof ops.native_dropout }, { linear } = decoder.blocks, { native_dropout: dropout } = ops
  let at = { layer: -1, id: '' }
  const watched: typeof linear = { ...linear, forward(x, residual, weights, place, context) { at = place; return linear.forward(x, residual, weights, place, context) } }
  Object.assign(decoder.blocks, { linear: watched })
  changed.native_dropout = Object.assign((x: Tensor, share: number, train: boolean | undefined): [Tensor, Tensor] => {
    const drawn = dropout(x, share, train), [, kept] = drawn
    masks.push({ layer: at.layer, place: at.id, shape: kept.shape, mask: bits(kept) })
    return drawn
  }, { schemas: dropout.schemas })
  return () => { changed.native_dropout = dropout }
}

function bits(mask: Tensor): string { return Buffer.from(mask.toBytes()).toString('hex').replaceAll('00', '0').replaceAll('01', '1') }

/** Keeps what NEFTune adds to embeddings: the difference from those without. */
function watchNoise(decoder: Decoder, noise: number[][]): void {
  const embed = decoder.embed.bind(decoder)
  decoder.embed = (batch, context) => {
    if (batch.noise !== undefined) noise.push(scope(() => ops.sub(embed(batch, context), embed({ ...batch, noise: undefined }, context)).toArray()))
    return embed(batch, context)
  }
}
