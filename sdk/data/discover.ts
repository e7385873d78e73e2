import * as fs from 'node:fs'
import * as path from 'node:path'
import { DataError } from '../errors'
import { builtinData } from './builtin/names'

export type SplitName = 'train' | 'dev' | 'test'

/** The files of a data set, in the order in which their rows count. `null`: the set has no such split. */
export type DataFiles = Readonly<Record<SplitName, readonly string[] | null>>

/**
 * Finds a data set's files: `train.json`, else the files of `train/`; the same for dev; `test.json` for prediction. The
 * ending .jsonl does as well. A path that is one file is the training data alone.
 * @throws DataError `data.not-found` with what was looked for, `data.ambiguous` for two files of one split
 */
export function discoverData(dataPath: string): DataFiles {
  const stat = fs.statSync(dataPath, { throwIfNoEntry: false })
  if (!stat) throw new DataError('data.not-found', `${dataPath}: does not exist; give a folder with train.json (and dev.json), one file of {"src", "tgt"} lines, or a built-in data set (${builtinData.join(', ')})`, { path: dataPath })
  if (!stat.isDirectory()) return { train: [dataPath], dev: null, test: null }
  const files = { train: splitFiles(dataPath, 'train', true), dev: splitFiles(dataPath, 'dev', true), test: splitFiles(dataPath, 'test', false) }
  if (!files.train && !files.dev && !files.test) throw notFound(dataPath, ['train', 'dev', 'test'])
  return files
}

/** The files of one split. @throws DataError `data.not-found` with what was looked for */
export function requireSplit(dataPath: string, files: DataFiles, split: SplitName): readonly string[] {
  const found = files[split]
  if (!found) throw notFound(dataPath, [split], files)
  return found
}

function splitFiles(folder: string, split: SplitName, folders: boolean): string[] | null {
  const single = [`${split}.json`, `${split}.jsonl`].map(name => path.join(folder, name)).filter(isFile)
  if (single.length > 1) {
    throw new DataError('data.ambiguous', `${folder}: has both ${split}.json and ${split}.jsonl; keep one of them, or put both into ${split}/`, { folder, files: single })
  }
  if (single.length === 1) return single
  const inside = path.join(folder, split)
  if (!folders || !fs.statSync(inside, { throwIfNoEntry: false })?.isDirectory()) return null
  const names = fs.readdirSync(inside).filter(name => /\.jsonl?$/.test(name)).sort()
  return names.length > 0 ? names.map(name => path.join(inside, name)) : null
}

function isFile(file: string): boolean {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false
}

function notFound(folder: string, splits: readonly SplitName[], files?: DataFiles): DataError {
  const looked = splits.flatMap(s => s === 'test' ? ['test.json'] : [`${s}.json`, `${s}.jsonl`, `${s}/*.json`])
  const stat = fs.statSync(folder, { throwIfNoEntry: false })
  // A built-in set that is not fetched yet has no folder of its own.
  const has = stat?.isDirectory() ? fs.readdirSync(folder).slice(0, 8) : stat ? [path.basename(folder)] : Object.values(files ?? {}).flatMap(each => each ?? []).map(each => path.basename(each))
  return new DataError('data.not-found',
    `${folder}: has no ${splits.join(', ')} data (looked for ${looked.join(', ')}; found ${has.join(', ') || 'nothing'}); put one {"src", "tgt"} object a line into ${path.join(folder, `${splits[0]}.json`)}`,
    { folder, looked, found: has })
}
