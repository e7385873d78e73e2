import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { distance } from 'fastest-levenshtein'
import { ModelError } from '../../errors'
import { locateWeights } from '../weights/open'
import { builtinNames, resolveBuiltin } from './builtin'
import { aiStudio } from './aistudio'
import { cachedModel, cachedRepositories } from './cache'
import { huggingFace } from './hugging-face'
import type { ModelHub } from './model-hub'
import { aiStudioPrefix } from './names'
import { expandHome } from './places'
import type { OnProgress } from './progress'
import { downloadModel } from './snapshot'

/** How a model is found; all optional. */
export interface ResolveOptions {
  /** Called while something is fetched or waited for; sizes in bytes. Default: nobody listens. */
  readonly onProgress?: OnProgress
  /** Branch, tag or commit on the hub; when not given `main`, on AI Studio `master`. */
  readonly revision?: string
}

/**
 * Finds a model by name and returns its folder or .gguf file, fetching it when it has to. In order: a local folder or
 * file, a built-in model (`builtin:smollm2-135m`), the local caches, the Hugging Face hub (`ORGANISATION/MODEL`, or
 * `ORGANISATION/MODEL/FILE.gguf`), Baidu AI Studio (`aistudio:OWNER/MODEL`).
 * @throws ModelError that names what was tried and the nearest names; EnvironmentError when a tool is missing
 */
export async function resolveModel(name: string, options: ResolveOptions = {}): Promise<string> {
  const local = expandHome(name)
  if (name !== '' && existsSync(local)) return locateWeights(local)
  if (name.startsWith('builtin:')) return resolveBuiltin(name, options.onProgress)
  const hubName = parseHubName(name)
  if (!hubName) throw notAModel(name, local)
  const { hub, repository, file } = hubName
  const cached = cachedModel(`${hub.prefix}${repository}`, options.revision ?? hub.revision, file)
  if (cached) return cached
  if (hub.endpoint().offline) {
    throw new ModelError('model.offline', `${name}: is not on this machine, and HF_HUB_OFFLINE forbids to fetch it${nearest(name)}; unset HF_HUB_OFFLINE, or give a local folder`,
      { name, path: local, candidates: candidates() })
  }
  try {
    return await downloadModel(hub, repository, { ...options, file })
  } catch (error) {
    if (!(error instanceof ModelError) || !['model.notFound', 'model.network'].includes(error.code)) throw error
    throw new ModelError(error.code, `${error.message}${hub === huggingFace ? `. There is no ${local} either` : ''}${nearest(name)}`, { ...error.details, path: local, candidates: candidates() }, { cause: error })
  }
}

interface HubName { readonly hub: ModelHub; readonly repository: string; readonly file: string | undefined }

/** A name that a hub could have; undefined for what can only be a path. */
export function parseHubName(given: string): HubName | undefined {
  const hub = given.startsWith(aiStudioPrefix) ? aiStudio : huggingFace
  const name = given.slice(hub.prefix.length)
  const match = /^([\w.-]+\/[\w.-]+)\/(.+\.gguf)$/.exec(name)
  const repository = match ? match[1] : name
  const possible = /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9_][\w.-]*)?$/.test(repository) && !/\.\.|--|\.(gguf|safetensors|bin|json)$/.test(repository)
  return possible && (hub === huggingFace || repository.includes('/')) ? { hub, repository, file: match?.[2] } : undefined
}

function notAModel(name: string, path: string): ModelError {
  const forms = 'give a model folder, a .gguf file, ORGANISATION/MODEL of the hub, aistudio:OWNER/MODEL, or builtin:smollm2-135m'
  return new ModelError('model.path', name === '' ? `expected the name of a model, got an empty string; ${forms}` : `${name}: there is no ${path}${nearest(name)}; ${forms}`,
    { name, path, candidates: candidates() })
}

/** Names that would work here: built-in models, cached ones, and model folders of the working folder. */
function candidates(): string[] {
  const folders = readdirSync('.', { withFileTypes: true })
    .filter(e => e.name.endsWith('.gguf') || (e.isDirectory() && existsSync(join(e.name, 'config.json')))).map(e => `./${e.name}`)
  return [...builtinNames, ...cachedRepositories(), ...folders]
}

function nearest(name: string): string {
  const bare = (text: string) => text.toLowerCase().replace(/^(\.\/|builtin:|aistudio:)/, '')
  const near = candidates().map(c => ({ c, d: Math.min(distance(bare(name), bare(c)), distance(bare(name).split('/').pop()!, bare(c).split('/').pop()!)) }))
    .sort((a, b) => a.d - b.d).slice(0, 3).map(n => n.c)
  return ` (here there are: ${near.join(', ')})`
}
