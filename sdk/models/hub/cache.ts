import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { formatOf, weightFiles } from '../weights/hugging-face'
import { readJsonObject } from '../weights/json'
import { aiStudioPrefix } from './names'
import { fettleHome, huggingFaceCache } from './places'

/** Written last into a snapshot. A folder without it is a download that was cut off. */
export const completeMark = '.fettle-complete.json'

export interface Mark {
  readonly repository: string
  readonly commit: string
  /** All files that were fetched and checked. */
  readonly files: readonly string[]
  /** What the repository's bare name stands for: '' for the folder, or its only .gguf file; absent when only named files were fetched. */
  readonly whole?: string
}

/** The mark of a snapshot, when it has one. */
export function readMark(snapshot: string): Mark | undefined {
  const path = join(snapshot, completeMark)
  return existsSync(path) ? readJsonObject(path) as unknown as Mark : undefined
}

/** Folder of one repository in Fettle's cache; inside as in Hugging Face's: `refs/REVISION` names a commit, `snapshots/COMMIT` holds its files. */
export function repositoryFolder(repository: string): string {
  return join(fettleHome(), 'hub', folderName(repository))
}

/**
 * A complete copy of a model on this disk: in Fettle's cache, else in the cache that Hugging Face's Python libraries share.
 * @param file one .gguf file of the repository instead of the model folder
 */
export function cachedModel(repository: string, revision: string, file?: string): string | undefined {
  const own = snapshot(repositoryFolder(repository), revision)
  const mark = own && readMark(own)
  if (own && mark) {
    if (file && mark.files.includes(file)) return join(own, file)
    if (!file && mark.whole !== undefined) return join(own, mark.whole)
  }
  if (repository.startsWith(aiStudioPrefix)) return undefined
  const shared = snapshot(join(huggingFaceCache(), folderName(repository)), revision)
  if (!shared) return undefined
  if (file) return existsSync(join(shared, file)) ? join(shared, file) : undefined
  return isWholeModel(shared) ? shared : undefined
}

/** Names of the repositories that are in either cache. */
export function cachedRepositories(): string[] {
  // A download that failed leaves a folder too, without a snapshot.
  const names = [join(fettleHome(), 'hub'), huggingFaceCache()].flatMap(folder => (existsSync(folder) ? readdirSync(folder).filter(n => existsSync(join(folder, n, 'snapshots'))) : []))
  return [...new Set(names.flatMap(nameOf))]
}

function folderName(repository: string): string {
  const [prefix, name] = repository.startsWith(aiStudioPrefix) ? ['aistudio--', repository.slice(aiStudioPrefix.length)] : ['', repository]
  return `${prefix}models--${name.replaceAll('/', '--')}`
}

function nameOf(folder: string): string[] {
  const match = /^(aistudio--)?models--(.+)$/.exec(folder)
  return match ? [`${match[1] ? aiStudioPrefix : ''}${match[2].replaceAll('--', '/')}`] : []
}

function snapshot(folder: string, revision: string): string | undefined {
  const ref = join(folder, 'refs', revision)
  const commit = existsSync(ref) && statSync(ref).isFile() ? readFileSync(ref, 'utf8').trim() : revision
  const path = join(folder, 'snapshots', commit)
  return existsSync(path) ? path : undefined
}

/** Python's cache marks nothing as complete, so that each shard of the index is looked for. */
function isWholeModel(folder: string): boolean {
  if (!existsSync(join(folder, 'config.json'))) return false
  const format = formatOf(folder)
  return format !== undefined && weightFiles(folder, format).every(file => existsSync(join(folder, file)))
}
