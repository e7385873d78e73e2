import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

/** Root of the checkout that this code runs from, or undefined when it was installed as a package. */
export function checkoutRoot(): string | undefined {
  for (let folder = __dirname; ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json')
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'fettle-repo') return folder
    if (dirname(folder) === folder) return undefined
  }
}

/** Where models from the hub are kept: FETTLE_HOME, else ~/.cache/fettle (or under XDG_CACHE_HOME). */
export function fettleHome(): string {
  const { FETTLE_HOME, XDG_CACHE_HOME } = process.env
  return FETTLE_HOME ? expandHome(FETTLE_HOME) : join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'fettle')
}

/** Where built-in models are kept: FETTLE_HOME/models, else `.fettle/models` of the checkout, else ~/.cache/fettle/models. */
export function modelsFolder(): string {
  const root = process.env.FETTLE_HOME ? undefined : checkoutRoot()
  return root ? join(root, '.fettle', 'models') : join(fettleHome(), 'models')
}

/** Where what can be made again is kept: FETTLE_HOME/cache/NAME, else `.fettle/cache/NAME` of the checkout, else ~/.cache/fettle/cache/NAME. */
export function cacheFolder(name: string): string {
  const root = process.env.FETTLE_HOME ? undefined : checkoutRoot()
  return join(root ? join(root, '.fettle') : fettleHome(), 'cache', name)
}

/** Hugging Face's own cache, which is read but never written: its order of variables is huggingface_hub's. */
export function huggingFaceCache(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env
  return HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || join(HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'), 'hub')
}

/** Absolute form of a path, `~` included. */
export function expandHome(path: string): string {
  return resolve(path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path)
}
