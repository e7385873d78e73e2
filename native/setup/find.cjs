'use strict'
// Finds libtorch. Plain CommonJS without dependencies: the set-up script, the build and the compiled binding all use it.
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawnSync } = require('node:child_process')

const OLDEST = [2, 10]
const NEWEST = [2, 15]

/** The folder of machine-local state: `.fettle` of a checkout, else `~/.cache/fettle`; FETTLE_HOME overrides. */
function home() {
  if (process.env.FETTLE_HOME) return path.resolve(process.env.FETTLE_HOME)
  const root = path.resolve(__dirname, '..', '..')
  try {
    if (JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).name === 'fettle-repo') return path.join(root, '.fettle')
  } catch {
    // No checkout around this package: the user's cache it is.
  }
  return path.join(os.homedir(), '.cache', 'fettle')
}

function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

/** Exact version of the libtorch in a torch folder (with `lib/` and `include/`), such as `2.15.0+cu132`. */
function versionOf(folder) {
  const python = readText(path.join(folder, 'version.py'))?.match(/__version__\s*=\s*['"]([^'"]+)['"]/)
  if (python) return python[1]
  const build = readText(path.join(folder, 'build-version'))
  if (build) return build.trim()
  for (const header of ['include/torch/headeronly/version.h', 'include/torch/csrc/api/include/torch/version.h']) {
    const macro = readText(path.join(folder, header))?.match(/#define TORCH_VERSION\s*\\?\s*"([^"]+)"/)
    if (macro) return macro[1]
  }
  return undefined
}

/** Says why a folder cannot serve as libtorch; undefined when it can. */
function defectOf(folder) {
  if (!fs.existsSync(path.join(folder, 'lib', 'libtorch_cpu.so'))) return 'no lib/libtorch_cpu.so'
  if (!fs.existsSync(path.join(folder, 'include', 'ATen', 'core', 'Tensor.h'))) return 'no headers in include/'
  const version = versionOf(folder)
  const [major, minor] = (version ?? '').split('.').map(Number)
  if (!version || Number.isNaN(minor)) return 'its version cannot be read'
  if (major !== OLDEST[0] || minor < OLDEST[1] || minor > NEWEST[1]) return `version ${version}, need ${OLDEST.join('.')} to ${NEWEST.join('.')}`
  return undefined
}

/** Python's torch, located without importing it. */
function pythonTorch(python) {
  const code = 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")'
  const result = spawnSync(python, ['-c', code], { encoding: 'utf8', timeout: 20000 })
  const folder = result.status === 0 ? result.stdout.trim() : ''
  return folder || undefined
}

function* candidates() {
  if (process.env.FETTLE_LIBTORCH) yield { source: 'FETTLE_LIBTORCH', folder: process.env.FETTLE_LIBTORCH, explicit: true }
  if (process.env.LIBTORCH) yield { source: 'LIBTORCH', folder: process.env.LIBTORCH, explicit: true }
  yield { source: 'set-up', folder: path.join(home(), 'libtorch', 'torch') }
  for (const name of ['VIRTUAL_ENV', 'CONDA_PREFIX']) {
    if (!process.env[name]) continue
    const folder = pythonTorch(path.join(process.env[name], 'bin', 'python'))
    if (folder) yield { source: name, folder }
  }
  const folder = pythonTorch('python3')
  if (folder) yield { source: 'python3', folder }
}

/**
 * The first usable libtorch in the order: FETTLE_LIBTORCH, LIBTORCH, the copy that set-up made, the active virtual
 * environment, Python's torch. Returns { folder, version, source } or { rejected: [{ source, folder, reason }] }.
 */
function findLibtorch() {
  const rejected = []
  for (const { source, folder, explicit } of candidates()) {
    const reason = defectOf(folder)
    if (!reason) return { folder: path.resolve(folder), version: versionOf(folder), source, rejected }
    if (explicit || fs.existsSync(folder)) rejected.push({ source, folder, reason })
    // A folder that the user named and that cannot serve must be put right, not passed over.
    if (explicit) break
  }
  return { rejected }
}

/** Where the addon for a libtorch is built. */
function buildFolder(version) {
  return path.join(home(), 'build', `${version.replace(/[^\w.+-]/g, '_')}-${process.arch}`)
}

/** True when an NVIDIA driver is at work on this machine. */
function hasNvidiaDriver() {
  return fs.existsSync('/proc/driver/nvidia/version') || fs.existsSync('/dev/nvidiactl') || fs.existsSync('/dev/dxg')
}

/** A Chromium or Chrome: CHROME_PATH, else the usual names on the PATH, else the one that set-up fetched. */
function findBrowser() {
  if (process.env.CHROME_PATH) return fs.existsSync(process.env.CHROME_PATH) ? process.env.CHROME_PATH : undefined
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/Applications/Google Chrome.app/Contents/MacOS']
  for (const name of ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome', 'Google Chrome'])
    for (const folder of folders) if (folder && fs.existsSync(path.join(folder, name))) return path.join(folder, name)
  const fetched = path.join(home(), 'chromium', 'chrome')
  return fs.existsSync(fetched) ? fetched : undefined
}

/** Folders that hold NVIDIA's wheels: those beside libtorch, those that set-up fetched. Each is `nvidia/<package>`. */
function nvidiaPackages(torchFolder) {
  const parents = [...(torchFolder ? [path.resolve(torchFolder, '..', 'nvidia')] : []), path.join(home(), 'cuda', 'nvidia')]
  return parents.filter((folder) => fs.existsSync(folder)).flatMap((folder) => fs.readdirSync(folder).map((name) => path.join(folder, name)))
}

/** Where CUDA is installed, if it is. */
function cudaHomes() {
  return [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda'].filter(Boolean)
}

/** NVRTC libraries to try in order: of the wheels, of an installed CUDA, then by name alone. Those with a path exist. */
function nvrtcLibraries(torchFolder) {
  const folders = [...nvidiaPackages(torchFolder).map((folder) => path.join(folder, 'lib')), ...cudaHomes().flatMap((folder) => [path.join(folder, 'lib64'), path.join(folder, 'targets', `${process.arch === 'arm64' ? 'sbsa' : 'x86_64'}-linux`, 'lib')])]
  const files = folders.filter((folder) => fs.existsSync(folder)).flatMap((folder) => fs.readdirSync(folder).filter((name) => /^libnvrtc\.so\.\d+$/.test(name)).map((name) => path.join(folder, name)))
  return [...new Set(files), 'libnvrtc.so.13', 'libnvrtc.so.12']
}

module.exports = { nvidiaPackages, cudaHomes, nvrtcLibraries, findBrowser, home, versionOf, defectOf, findLibtorch, buildFolder, hasNvidiaDriver, OLDEST, NEWEST }
