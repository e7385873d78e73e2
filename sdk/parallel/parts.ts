import * as fs from 'node:fs'
import * as path from 'node:path'
import { ops, scope, type DType, type Tensor } from 'fettle-native'
import { CheckpointError } from '../errors'
import type { NamedParameter, Parameters } from '../models/parameters'
import { putCut, type Cut } from '../models/share'
import { SafetensorsFile, writeSafetensors, type LazyTensor } from '../models/weights'
import type { Ranks } from './ranks'

/** What one rank writes of a tensor: values `from` … `from + length` of its cut, row by row. */
export interface PartInfo {
  /** Shape of all of it. */
  readonly whole: readonly number[]
  /** What the rank holds of it, and that cut's shape; `null`: all. */
  readonly cut: Cut | null
  readonly shape: readonly number[]
  readonly from: number
  readonly length: number
}

/** A part and its values. */
export interface Part extends PartInfo { readonly name: string; readonly values: Tensor }

/** `parts.json` of a rank's file: the description of each tensor in it. */
type PartTable = Readonly<Record<string, PartInfo>>

/** Files of a rank: values, and what they are. */
export function partNames(stem: string, rank: number): { readonly values: string; readonly table: string } {
  const name = `${stem}-rank-${String(rank).padStart(5, '0')}`
  return { values: `${name}.safetensors`, table: `${name}.json` }
}

/** Writes a rank's parts. Nothing is gathered for it. */
export function writeParts(folder: string, stem: string, rank: number, parts: readonly Part[]): void {
  const { values, table } = partNames(stem, rank)
  writeSafetensors(path.join(folder, values), new Map(parts.map((part) => [part.name, part.values])))
  const infos: PartTable = Object.fromEntries(parts.map(({ name, whole, cut, shape, from, length }) => [name, { whole, cut, shape, from, length }]))
  fs.writeFileSync(path.join(folder, table), `${JSON.stringify(infos)}\n`)
}

/**
 * Does this rank write what it holds of a parameter? Where several ranks hold the same, the first of them does: of replicas
 * the first, of tensor ranks that all hold it whole the first, of stages that do likewise.
 */
export function writesPart({ cut, partial }: Pick<NamedParameter, 'cut' | 'partial'>, { place }: Ranks): boolean {
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

/** Tensors of which ranks wrote parts, put together one at a time when asked for. */
export class JoinedParts {
  private readonly files: { readonly file: SafetensorsFile; readonly table: PartTable }[]

  /** @throws CheckpointError `checkpoint.parts` when a part is missing or does not fit */
  constructor(readonly folder: string, stem: string, ranks: readonly number[]) {
    this.files = ranks.map((rank) => {
      const { values, table } = partNames(stem, rank)
      return { file: new SafetensorsFile(path.join(folder, values)), table: JSON.parse(fs.readFileSync(path.join(folder, table), 'utf8')) as PartTable }
    })
  }

  names(): string[] { return [...new Set(this.files.flatMap(({ table }) => Object.keys(table)))] }

  /** Shape of all of a tensor. */
  shape(name: string): readonly number[] | undefined { return this.parts(name)[0]?.info.whole }

  dtype(name: string): DType { return this.parts(name)[0].file.tensors.get(name)!.dtype }

  /** All of a tensor, for the caller's scope. */
  read(name: string): Tensor {
    return scope(() => {
      const parts = this.parts(name), [{ info: { whole } }] = parts, dtype = this.dtype(name)
      const out = ops.zeros(whole, { dtype }), cuts = new Map<string, typeof parts>()
      for (const part of parts) {
        const key = JSON.stringify(part.info.cut)
        cuts.set(key, [...(cuts.get(key) ?? []), part])
      }
      let put = 0
      for (const same of cuts.values()) {
        const { cut, shape } = same[0].info, size = shape.reduce((a, b) => a * b, 1), own = ops.zeros([size], { dtype })
        const covered = same.reduce((sum, { file, info: { from, length } }) => {
          ops.copy_(ops.narrow(own, 0, from, length), ops.view(file.read(name), [length]))
          return sum + length
        }, 0)
        if (covered !== size) throw new CheckpointError('checkpoint.parts', `${this.folder} has ${covered} of ${size} values of ${name}; files of some ranks are missing`, { folder: this.folder, name, covered, size })
        putCut(out, ops.view(own, shape), cut)
        put += size
      }
      if (put < out.numel) throw new CheckpointError('checkpoint.parts', `${this.folder} has ${put} of ${out.numel} values of ${name}; files of some ranks are missing`, { folder: this.folder, name, covered: put, size: out.numel })
      return out
    })
  }

  /** As `writeSafetensors` takes them: made when their turn comes. */
  lazy(name: string): LazyTensor { return { dtype: this.dtype(name), shape: this.shape(name)!, make: () => this.read(name) } }

  close(): void { for (const { file } of this.files) file.close() }

  private parts(name: string): { file: SafetensorsFile; info: PartInfo }[] {
    return this.files.flatMap(({ file, table }) => (name in table ? [{ file, info: table[name] }] : []))
  }
}
