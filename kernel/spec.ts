import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { EnvironmentError } from 'fettle/dist/errors'

/** Where a kernel is put: for this user, for one Python (`sys-prefix`), or below a folder. */
export type Place = { readonly user: true } | { readonly sysPrefix: true } | { readonly prefix: string }

const launcher = path.join(__dirname, 'launch.js')
const logos = path.join(__dirname, '..', 'logo')

/** Writes the kernel specification into `folder` (whose name is the kernel's), over an older one. */
export function installSpec(folder: string): void {
  const spec = {
    argv: [process.execPath, launcher, '{connection_file}'],
    display_name: 'Fettle (TypeScript)', language: 'typescript', interrupt_mode: 'signal',
    metadata: { debugger: false },
  }
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'kernel.json'), `${JSON.stringify(spec, null, 2)}\n`)
  for (const name of readdirSync(logos)) copyFileSync(path.join(logos, name), path.join(folder, name))
}

/** Folder of kernels at a place, as Jupyter looks for them (jupyter_core.paths). */
export function kernelsFolder(place: Place): string {
  if ('prefix' in place) return path.join(path.resolve(place.prefix), 'share', 'jupyter', 'kernels')
  if ('sysPrefix' in place) return path.join(sysPrefix(), 'share', 'jupyter', 'kernels')
  return path.join(userData(), 'kernels')
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

/** Whether a kernel folder was written by `installSpec`. */
export function isOurs(folder: string): boolean {
  const file = path.join(folder, 'kernel.json')
  return existsSync(file) && /Fettle/.test(readFileSync(file, 'utf8'))
}

/** Installs the kernel and returns its folder. */
export function install(place: Place = { user: true }): string {
  const folder = path.join(kernelsFolder(place), 'fettle')
  if (existsSync(folder) && !isOurs(folder))
    throw new EnvironmentError('kernel.foreign', `${folder} holds a kernel that is not Fettle's; move it away first, or choose another place with --prefix DIR`, { folder })
  installSpec(folder)
  return folder
}

/** Removes the kernel; `false` when there was none. A folder that is not ours is left alone. */
export function remove(place: Place = { user: true }): boolean {
  const folder = path.join(kernelsFolder(place), 'fettle')
  if (!isOurs(folder)) return false
  rmSync(folder, { recursive: true })
  return true
}
