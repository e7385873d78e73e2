import * as fs from 'node:fs'
import * as path from 'node:path'
import { ops, type Tensor } from 'fettle-native'
import type { NamedParameter, Parameters } from '../models/parameters'
import { writeSafetensors, type LazyTensor } from '../models/weights'
import { partNames, type PartInfo, type PartTable } from '../models/weights/parts'
import type { Ranks } from './ranks'

/** A part and its values. */
export interface Part<Values = Tensor> extends PartInfo { readonly name: string; readonly values: Values }

/** Writes a rank's parts. Nothing is gathered for it. */
export function writeParts(folder: string, stem: string, rank: number, parts: readonly Part<Tensor | LazyTensor>[]): void {
  const { values, table } = partNames(stem, rank)
  writeSafetensors(path.join(folder, values), new Map(parts.map((part) => [part.name, part.values])))
  const infos: PartTable = Object.fromEntries(parts.map(({ name, whole, cut, shape, from, length }) => [name, { whole, cut, shape, from, length }]))
  fs.writeFileSync(path.join(folder, table), `${JSON.stringify(infos)}\n`)
}

/**
 * Does this rank write what it holds of a parameter? Where several ranks hold the same, the first of them does: of replicas
 * the first, of tensor ranks that all hold it whole the first, of stages that do likewise.
 */
export function writesPart({ cut, partial }: Pick<NamedParameter, 'cut' | 'partial'>, { place }: Pick<Ranks, 'place'>): boolean {
  const firstHolder = cut === null ? place.tp === 0 : place.tp % Math.min(...cut.holders) === 0
  return place.dp === 0 && firstHolder && ((partial !== 'model' && partial !== 'ends') || place.pp === 0)
}

/** This rank's part of what one of its flat buffers holds of a parameter; `null`: nothing that it should write. */
export function partOf(parameter: NamedParameter, parameters: Parameters, buffer: Tensor, name: string, ranks: Ranks): Part | null {
  const { value, start, whole, cut } = parameter, piece = parameters.flat!.own(start, value.numel)
  // What is not divided between sharding ranks is the same on each.
  if (piece === null || !writesPart(parameter, ranks) || (ranks.place.sharding > 0 && !parameters.flat!.divided)) return null
  return { name, whole, cut, shape: value.shape, from: piece.from, length: piece.length, values: ops.narrow(buffer, 0, piece.start, piece.length) }
}
