// What only some need: Jupyter in a private environment, a browser, CUDA's compiler and headers.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { command, SetupError } from './stages.mjs'
import { checkPython, remedyFor } from './tools.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const { findBrowser, findLibtorch } = createRequire(import.meta.url)('./find.cjs')

/** Jupyter's server with nbconvert, or with `lab` JupyterLab too, in .fettle/jupyter. */
export async function ensureJupyter(home, lab, note) {
  const folder = path.join(home, 'jupyter')
  const stamp = path.join(folder, 'fettle.stamp')
  const hash = (names) => createHash('sha256').update(names.map((n) => fs.readFileSync(path.join(here, n), 'utf8')).join('\0')).digest('hex')
  const both = hash(['requirements-jupyter.txt', 'requirements-lab.txt'])
  const wanted = lab ? [both] : [hash(['requirements-jupyter.txt']), both]
  if (fs.existsSync(stamp) && wanted.includes(fs.readFileSync(stamp, 'utf8'))) return undefined
  const python = path.join(folder, 'bin', 'python')
  if (!fs.existsSync(python)) await command(checkPython(['venv', 'ensurepip']), ['-m', 'venv', folder], { note, remedy: remedyFor('python') })
  const file = path.join(here, lab ? 'requirements-lab.txt' : 'requirements-jupyter.txt')
  await command(python, ['-m', 'pip', 'install', '--disable-pip-version-check', '--progress-bar=off', '-r', file], { note, remedy: 'Jupyter could not be fetched; check the network' })
  fs.writeFileSync(stamp, wanted[0])
  return lab ? 'JupyterLab' : 'server and nbconvert'
}

const CHROMIUM = '@sparticuz/chromium@153.0.0'

/** A Chromium or Chrome for the browser tests: found, or installed by the system's packages where we may, or else the one
 * inside an npm package. */
export async function ensureBrowser(home, note) {
  if (findBrowser()) return undefined
  if (process.getuid?.() === 0 && fs.existsSync('/usr/bin/apt-get')) {
    const env = { DEBIAN_FRONTEND: 'noninteractive' }
    try {
      await command('apt-get', ['update', '-qq'], { note, env })
      await command('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], { note, env })
    } catch (error) {
      // No mirror, or a system whose package is another's: the npm package needs neither.
      if (!(error instanceof SetupError)) throw error
    }
    const found = findBrowser()
    if (found) return found
  }
  if (process.platform === 'linux' && process.arch === 'x64') return chromiumOfNpm(home, note)
  throw new SetupError(`no Chromium or Chrome found: ${remedyFor('chromium')}, or set CHROME_PATH`)
}

/** Chromium's headless shell out of the npm package, with the libraries and fonts that it brings, in .fettle/chromium. */
export async function chromiumOfNpm(home, note) {
  const folder = path.join(home, 'chromium')
  const unpacked = path.join(folder, 'unpacked')
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(unpacked, { recursive: true })
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n')
  await command('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', CHROMIUM], { cwd: folder, note, remedy: `${remedyFor('chromium')}, or set CHROME_PATH` })
  // The package unpacks into the folder of temporary files.
  const unpack = `import chromium, { inflate } from '@sparticuz/chromium'; await chromium.executablePath(); await inflate('node_modules/@sparticuz/chromium/bin/al2023.tar.br')`
  await command(process.execPath, ['--input-type=module', '-e', unpack], { cwd: folder, env: { TMPDIR: unpacked }, note })
  fs.rmSync(path.join(folder, 'node_modules'), { recursive: true })
  const conf = path.join(unpacked, 'fonts', 'fonts.conf')
  fs.writeFileSync(conf, fs.readFileSync(conf, 'utf8').replace(/<dir>.*?<\/dir>/, `<dir>${path.join(unpacked, 'fonts')}</dir>`))
  const program = path.join(folder, 'chrome')
  // The system's own libraries come first; fonts of the system, where it has any, are used too.
  fs.writeFileSync(program, `#!/bin/sh
here=$(dirname "$(readlink -f "$0")")/unpacked
if ldd "$here/chromium" | grep -q 'not found'; then export LD_LIBRARY_PATH="\${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/al2023/lib"; fi
if [ ! -e /etc/fonts/fonts.conf ]; then export FONTCONFIG_PATH="$here/fonts"; fi
exec "$here/chromium" "$@"
`, { mode: 0o755 })
  const version = await command(program, ['--version'], { note, remedy: `the Chromium of ${CHROMIUM} does not start here: ${remedyFor('chromium')}, or set CHROME_PATH` })
  return version.trim()
}

/** NVRTC, which compiles kernels at run time, and the headers that graphs.node is compiled with, of libtorch's own CUDA. */
const CUDA_PACKAGES = {
  13: ['nvidia-cuda-nvrtc==13.2.78', 'nvidia-cuda-crt==13.2.78', 'nvidia-cuda-runtime==13.2.86'],
  12: ['nvidia-cuda-nvrtc-cu12==12.9.86', 'nvidia-cuda-nvcc-cu12==12.9.86', 'nvidia-cuda-runtime-cu12==12.9.79'],
}

/** CUDA's compiler and headers from NVIDIA's wheels, in .fettle/cuda: 120 MB, and no GPU is needed. */
export async function ensureCuda(home, note) {
  const version = findLibtorch().version ?? '', major = Number(version.match(/\+cu(\d\d)/)?.[1])
  const packages = CUDA_PACKAGES[major]
  if (!packages) throw new SetupError(`expected a libtorch for CUDA 12 or 13, found ${version}; leave cuda out of --with, or set FETTLE_LIBTORCH to one for CUDA`)
  const folder = path.join(home, 'cuda'), stamp = path.join(folder, 'fettle.stamp'), wanted = packages.join(' ')
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted) return undefined
  const temporary = `${folder}.${process.pid}.tmp`
  try {
    await command(checkPython(['pip']), ['-m', 'pip', 'install', '--target', temporary, '--no-deps', '--no-compile', '--no-cache-dir', '--disable-pip-version-check', '--progress-bar=off', ...packages],
      { note, remedy: "CUDA's compiler could not be fetched; check the network, or set CUDA_HOME to an installed CUDA" })
    fs.writeFileSync(path.join(temporary, 'fettle.stamp'), wanted)
    fs.rmSync(folder, { recursive: true, force: true })
    fs.renameSync(temporary, folder)
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true })
  }
  return `NVRTC and headers for CUDA ${major}`
}
