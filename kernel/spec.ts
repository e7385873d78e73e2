import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { EnvironmentError } from 'fettle/dist/errors'

/** Where kernel and lab extension are put: for this user, for one Python (`sys-prefix`), or below a folder. */
export type Place =
  | {
    /** This user's own Jupyter folder. */
    readonly user: true
  }
  | {
    /** The Python environment that is active. */
    readonly sysPrefix: true
  }
  | {
    /** `DIR`, for `DIR/share/jupyter`. */
    readonly prefix: string
  }

const launcher = path.join(__dirname, 'launch.js')
const logos = path.join(__dirname, '..', 'logo')
const extension = path.join(__dirname, 'labextension')

/** Writes the kernel specification into `folder` (whose name is the kernel's), over an older one. */
export function installSpec(folder: string): void {
  const spec = {
    argv: [process.execPath, launcher, '{connection_file}'],
    display_name: 'Fettle (TypeScript)', language: 'typescript', interrupt_mode: 'signal',
    metadata: { debugger: false },
  }
  makeFolder(folder)
  writeFileSync(path.join(folder, 'kernel.json'), `${JSON.stringify(spec, null, 2)}\n`)
  for (const name of readdirSync(logos)) copyFileSync(path.join(logos, name), path.join(folder, name))
}

/** Copies the lab extension into `folder` (whose name is the extension's), over an older one. */
export function installExtension(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  makeFolder(folder)
  cpSync(extension, folder, { recursive: true })
}

/** Makes a folder and those above it, one by one: Node's own way never ends where the file system takes none (/proc). */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return
  makeFolder(path.dirname(folder))
  try { mkdirSync(folder) } catch (cause) {
    if (existsSync(folder)) return
    throw new EnvironmentError('kernel.folder', `cannot make the folder ${folder}: ${(cause as Error).message}; choose a place that you may write to with --prefix DIR, or --user`, { folder }, { cause })
  }
}

/** Jupyter's data folder at a place (jupyter_core.paths). */
function dataFolder(place: Place): string {
  if ('prefix' in place) return path.join(path.resolve(place.prefix), 'share', 'jupyter')
  return 'sysPrefix' in place ? path.join(sysPrefix(), 'share', 'jupyter') : userData()
}

/** The two folders that an installation is made of. */
export interface Installation {
  /** Of the kernel specification. */
  readonly kernel: string
  /** Of the lab extension. */
  readonly extension: string
}

/** Folders of kernel and lab extension at a place, whether they are there or not. */
export function foldersAt(place: Place): Installation {
  const data = dataFolder(place)
  return { kernel: path.join(data, 'kernels', 'fettle'), extension: path.join(data, 'labextensions', 'fettle-lab') }
}

function userData(): string {
  if (process.env.JUPYTER_DATA_DIR) return process.env.JUPYTER_DATA_DIR
  if (process.platform === 'darwin') return path.join(homedir(), 'Library', 'Jupyter')
  if (process.platform === 'win32') return path.join(process.env.APPDATA ?? path.join(homedir(), 'AppData', 'Roaming'), 'jupyter')
  return path.join(process.env.XDG_DATA_HOME ?? path.join(homedir(), '.local', 'share'), 'jupyter')
}

/** `sys.prefix` of the Python on the path: that of the active virtual environment. */
function sysPrefix(): string {
  const python = process.env.FETTLE_JUPYTER || (process.platform === 'win32' ? 'python' : 'python3')
  try {
    return execFileSync(python, ['-c', 'import sys; print(sys.prefix)'], { encoding: 'utf8' }).trim()
  } catch (cause) {
    throw new EnvironmentError('kernel.python', `cannot run ${python} to learn its sys.prefix; activate the environment that holds Jupyter, or use --prefix DIR`, { python }, { cause })
  }
}

/** Whether a folder was written by `installSpec` or `installExtension`. */
export function isOurs(folder: string): boolean {
  const read = (name: string) => { const file = path.join(folder, name); return existsSync(file) ? readFileSync(file, 'utf8') : '' }
  return /Fettle/.test(read('kernel.json')) || /"name": "fettle-lab"/.test(read('package.json'))
}

/** Installs kernel and lab extension (JupyterLab 4, Notebook 7), over older ones, and returns their folders. */
export function install(place: Place = { user: true }): Installation {
  const folders = foldersAt(place)
  for (const folder of [folders.kernel, folders.extension]) if (existsSync(folder) && !isOurs(folder))
    throw new EnvironmentError('kernel.foreign', `${folder} holds something that is not Fettle's; move it away first, or choose another place with --prefix DIR`, { folder })
  if (!existsSync(path.join(extension, 'package.json')))
    throw new EnvironmentError('kernel.unbuilt', `no lab extension in ${extension}; build it with: npm run build`, { folder: extension })
  installSpec(folders.kernel)
  installExtension(folders.extension)
  return folders
}

/** Removes both and returns the folders that are gone. What is not ours is left alone. */
export function remove(place: Place = { user: true }): string[] {
  const folders = Object.values(foldersAt(place)).filter((folder) => isOurs(folder))
  for (const folder of folders) rmSync(folder, { recursive: true })
  return folders
}
