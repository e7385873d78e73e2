import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fettleHome } from '../../models/hub/places'
import type { DataFiles } from '../discover'
import { builtinOf, type BuiltinData } from './catalog'

/** The built-in set that a data path names; undefined where the path means something on this disk. */
export function builtinAt(path: string): BuiltinData | undefined { return existsSync(path) ? undefined : builtinOf(path) }

/** A set's folder in the cache that models are in. */
export function homeOf({ name }: BuiltinData): string { return join(fettleHome(), 'hub', `datasets--${name}`) }

/** Where its rows are, once they are fetched: the folder appears whole. */
export function rowsFolder(set: BuiltinData): string { return join(homeOf(set), 'rows') }

/** The files that a built-in data set has once it is fetched; undefined for other paths. */
export function builtinSplits(path: string): DataFiles | undefined {
  const set = builtinAt(path)
  if (set === undefined) return undefined
  const folder = rowsFolder(set)
  return { train: [join(folder, 'train.json')], dev: [join(folder, 'dev.json')], test: null }
}
