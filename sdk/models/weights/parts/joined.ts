import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DType, Tensor } from 'fettle-native'
import { CheckpointError } from '../../../errors'
import { putCut, takeCut, type Cut } from '../../share'
import { native } from '../native'
import { SafetensorsFile } from '../safetensors-read'
import type { LazyTensor } from '../safetensors-write'

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

/** `parts.json` of a rank's file: the description of each tensor in it. */
export type PartTable = Readonly<Record<string, PartInfo>>

/** Files of a rank: values, and what they are. */
export function partNames(stem: string, rank: number): { readonly values: string; readonly table: string } {
  const name = `${stem}-rank-${String(rank).padStart(5, '0')}`
  return { values: `${name}.safetensors`, table: `${name}.json` }
}

/** A part, and the file that has its values. */
interface Found { readonly file: SafetensorsFile; readonly info: PartInfo }

/** Tensors of which ranks wrote parts, put together one at a time when asked for. Opening reads headers only and needs no native addon. */
export class JoinedParts {
  private readonly files: { readonly file: SafetensorsFile; readonly table: PartTable }[]

  /**
   * @param ranks how many wrote
   * @throws CheckpointError `checkpoint.parts` when a rank's file is missing or broken
   */
  constructor(readonly folder: string, stem: string, readonly ranks: number) {
    this.files = Array.from({ length: ranks }, (_, rank) => {
      const { values, table } = partNames(stem, rank)
      try {
        return { file: new SafetensorsFile(join(folder, values)), table: JSON.parse(readFileSync(join(folder, table), 'utf8')) as PartTable }
      } catch (cause) {
        throw new CheckpointError('checkpoint.parts', `${folder} was written by ${ranks} ranks, and ${values} or ${table} of rank ${rank} is missing or broken (${(cause as Error).message}); copy the files of all ranks into one folder, or take another checkpoint`, { folder, ranks, rank }, { cause })
      }
    })
  }

  names(): string[] { return [...new Set(this.files.flatMap(({ table }) => Object.keys(table)))] }

  /** Shape of all of a tensor. */
  shape(name: string): readonly number[] | undefined { return this.parts(name)[0]?.info.whole }

  dtype(name: string): DType { return this.some(name)[0].file.tensors.get(name)!.dtype }

  /** All of a tensor, for the caller's scope. @throws CheckpointError `checkpoint.parts` when a part is missing, is there twice, or does not fit */
  read(name: string): Tensor {
    const { ops, scope } = native()
    return scope(() => {
      const parts = this.some(name), [{ info: { whole } }] = parts, cuts = byCut(parts)
      const out = ops.zeros(whole, { dtype: this.dtype(name) })
      const covered = coverage([...cuts.values()].map(([{ info: { cut } }]) => cut), whole)
      if (covered !== 1) throw this.misfit(name, Math.round(covered * out.numel), out.numel)
      for (const same of cuts.values()) putCut(out, this.joined(name, same, whole), same[0].info.cut)
      return out
    })
  }

  /** What a rank holds of a tensor. Where the ranks that wrote were cut alike nothing else is read. */
  readCut(name: string, cut: Cut | null): Tensor {
    const parts = this.some(name), same = byCut(parts).get(JSON.stringify(cut))
    return same === undefined ? takeCut(this.read(name), cut) : this.joined(name, same, parts[0].info.whole)
  }

  /** The parts of one cut, one after the other. */
  private joined(name: string, same: readonly Found[], whole: readonly number[]): Tensor {
    const { ops, scope } = native()
    return scope(() => {
      const { shape } = same[0].info, own = ops.zeros([count(shape)], { dtype: this.dtype(name) })
      let end = 0
      for (const { file, info: { whole: all, from, length } } of same) {
        if (from !== end || end + length > own.numel || all.join() !== whole.join()) throw this.misfit(name, from < end ? end + length : end, own.numel)
        ops.copy_(ops.narrow(own, 0, from, length), ops.view(file.read(name), [length]))
        // A mapping of a whole file would stay in memory, page by page.
        file.close()
        end += length
      }
      if (end !== own.numel) throw this.misfit(name, end, own.numel)
      return ops.view(own, shape)
    })
  }

  /** As `writeSafetensors` takes them: made when their turn comes. */
  lazy(name: string): LazyTensor { return { dtype: this.dtype(name), shape: this.shape(name)!, make: () => this.read(name) } }

  close(): void { for (const { file } of this.files) file.close() }

  /** Paths of the values. */
  get paths(): string[] { return this.files.map(({ file }) => file.path) }

  private parts(name: string): Found[] {
    return this.files.flatMap(({ file, table }) => (name in table ? [{ file, info: table[name] }] : []))
  }

  private some(name: string): Found[] {
    const parts = this.parts(name)
    if (parts.length === 0) throw this.misfit(name, 0, 1)
    return parts
  }

  private misfit(name: string, covered: number, size: number): CheckpointError {
    const what = covered > size ? 'some are there twice, so that files of different saves are mixed' : 'files of some ranks are missing, or of another save'
    return new CheckpointError('checkpoint.parts', `${this.folder} has ${covered} of ${size} values of ${name}; ${what}. Copy the files of all ranks again, or take another checkpoint`, { folder: this.folder, name, covered, size })
  }
}

/** Parts by their cuts, each in the order of their values. */
function byCut(parts: readonly Found[]): Map<string, Found[]> {
  const cuts = new Map<string, Found[]>()
  for (const part of parts) {
    const key = JSON.stringify(part.info.cut)
    cuts.set(key, [...(cuts.get(key) ?? []), part])
  }
  for (const same of cuts.values()) same.sort((a, b) => a.info.from - b.info.from)
  return cuts
}

/** How much of a tensor its cuts hold, 1 being all of it. Ranks may hold the same stretch (key/value groups of fused weights); stretches that meet otherwise count as more. */
function coverage(cuts: readonly (Cut | null)[], whole: readonly number[]): number {
  const divided = cuts.filter((cut): cut is Cut => cut !== null)
  if (divided.length < cuts.length) return cuts.length
  const [{ dim }] = divided, stretches = new Map(divided.flatMap((cut) => cut.stretches.map((each) => [`${each.start} ${each.length}`, each] as const)))
  let end = 0, held = 0
  for (const { start, length } of [...stretches.values()].sort((a, b) => a.start - b.start)) {
    if (start < end) return 1 + (end - start) / whole[dim]
    end = start + length
    held += length
  }
  return divided.every((cut) => cut.dim === dim) ? held / whole[dim] : divided.length
}

function count(shape: readonly number[]): number { return shape.reduce((a, b) => a * b, 1) }
