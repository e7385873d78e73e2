import { address } from '../../models/hub/endpoint'
import { builtinData } from './names'

/** A data set that is fetched by name. */
export interface BuiltinData {
  readonly name: string
  /** The archive: a .tar.gz with one file of rows a split. */
  readonly archive: string
  /** Variable that names another address for the folder of archives. */
  readonly variable: string
  readonly base: string
  /** Rows of each split, as published. Another copy may differ by a few. */
  readonly rows: Readonly<Record<'train' | 'dev', number>>
  /** Most bytes that it may unpack to. */
  readonly mostBytes: number
}

const sets: Readonly<Record<string, Omit<BuiltinData, 'name'>>> = {
  // Product attributes and the advertising text for them, in Chinese (Shao et al., EMNLP 2019, arXiv 1908.06605), as PaddleNLP publishes it.
  AdvertiseGen: {
    archive: 'AdvertiseGen.tar.gz', variable: 'FETTLE_DATASETS_URL', base: 'https://bj.bcebos.com/paddlenlp/datasets/examples',
    rows: { train: 114_599, dev: 1_070 }, mostBytes: 512 * 2 ** 20,
  },
}

/** The data set of that name. */
export function builtinOf(name: string): BuiltinData | undefined {
  return builtinData.includes(name) ? { name, ...sets[name] } : undefined
}

/** Where the archives are. */
export function addressOf({ variable, base }: BuiltinData): string { return address(variable, base) }
