import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { NativeError } from './errors'
import type { Engine } from './engine'

/** Where a libtorch was found. */
export interface Libtorch {
  readonly folder: string
  readonly version: string
  /** `FETTLE_LIBTORCH`, `LIBTORCH`, `set-up`, `VIRTUAL_ENV`, `CONDA_PREFIX` or `python3`. */
  readonly source: string
}

/** A place that was looked at and cannot serve. */
export interface RejectedLibtorch {
  readonly source: string
  readonly folder: string
  readonly reason: string
}

interface Finder {
  home(): string
  findLibtorch(): { folder?: string; version?: string; source?: string; rejected: RejectedLibtorch[] }
  buildFolder(version: string): string
  hasNvidiaDriver(): boolean
  findBrowser(): string | undefined
  nvrtcLibraries(torchFolder?: string): string[]
}

/** The finder is shared with the set-up script, which runs before anything is compiled. */
export const finder: Finder = require(join(__dirname, '..', 'setup', 'find.cjs')) as Finder

/** The folder of machine-local state: `.fettle` of a checkout, else `~/.cache/fettle`; `FETTLE_HOME` overrides. */
export function home(): string {
  return finder.home()
}

let engine: Engine | undefined
let found: Libtorch | undefined

/** The libtorch in use, or that would be used; throws NativeError `native.missing` when there is none. */
export function libtorch(): Libtorch {
  if (found) return found
  const { folder, version, source, rejected } = finder.findLibtorch()
  if (!folder || !version || !source) {
    const seen = rejected.map((r) => `${r.source} (${r.folder}): ${r.reason}`).join('; ')
    throw new NativeError('native.missing', `libtorch 2.10 to 2.15 not found${seen && ` (${seen})`}; run: npm run setup`)
  }
  return (found = { folder, version, source })
}

function addonFolder(torch: Libtorch): string {
  const folder = finder.buildFolder(torch.version)
  if (!existsSync(join(folder, 'engine.node')) || !existsSync(join(folder, 'boot.node')))
    throw new NativeError('native.missing', `the addon is not built for libtorch ${torch.version} of ${torch.folder}; run: npm run setup`)
  // An addon built against another version loads silently and gives empty gradients.
  const built = (JSON.parse(readFileSync(join(folder, 'stamp.json'), 'utf8')) as { torch: string }).torch
  if (built !== torch.version) throw new NativeError('native.missing', `the addon is built for libtorch ${built}, found ${torch.version}; run: npm run setup`)
  return folder
}

/** True unless FETTLE_CUDA=0 hides the GPUs. */
function wantsCuda(torch: Libtorch): boolean {
  return process.env.FETTLE_CUDA !== '0' && finder.hasNvidiaDriver() && existsSync(join(torch.folder, 'lib', 'libtorch_cuda.so'))
}

function open(): Engine {
  const torch = libtorch()
  const folder = addonFolder(torch)
  const boot = require(join(folder, 'boot.node')) as { open(path: string): void }
  const lib = (name: string) => join(torch.folder, 'lib', name)
  try {
    boot.open(lib('libtorch_cpu.so'))
    if (wantsCuda(torch)) boot.open(lib('libtorch_cuda.so'))
  } catch (error) {
    throw new NativeError('native.open', `libtorch in ${torch.folder} does not open: ${(error as Error).message}; run: npx fettle doctor`)
  }
  const loaded = require(join(folder, 'engine.node')) as Engine
  loaded.setErrorClass(NativeError)
  return loaded
}

/** Finds libtorch and opens it with the addon. Idempotent; the first use of any function does it too. */
export function load(): void {
  engine ??= open()
}

/** The functions of nccl.node (native/nccl). */
export interface NcclAddon {
  openGroup(store: object, name: string, rank: number, size: number, timeout: number): object
}

/** The addon for ranks on GPUs; `null` where it is not built, or there is no GPU. */
export function nccl(): NcclAddon | null {
  native()
  const torch = libtorch(), file = join(addonFolder(torch), 'nccl.node')
  return wantsCuda(torch) && existsSync(file) ? (require(file) as NcclAddon) : null
}

/** The functions of graphs.node (native/graphs). */
export interface GraphsAddon {
  begin(device: number): number
  end(graph: number): void
  abandon(graph: number): void
  replay(graph: number): void
  free(graph: number): void
}

/** The addon that records CUDA graphs; `null` where it is not built, or there is no GPU. */
export function graphs(): GraphsAddon | null {
  native()
  const torch = libtorch(), file = join(addonFolder(torch), 'graphs.node')
  return wantsCuda(torch) && existsSync(file) ? (require(file) as GraphsAddon) : null
}

/** True where an addon such as `graphs` or `nccl` was built beside the engine. */
export function hasAddon(name: 'graphs' | 'nccl'): boolean {
  const torch = libtorch()
  return existsSync(join(finder.buildFolder(torch.version), `${name}.node`))
}

/** The addon, loaded on first use. */
export function native(): Engine {
  return engine ?? (engine = open())
}
