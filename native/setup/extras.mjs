// What only notebooks and their tests need: Jupyter in a private environment, and a browser.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { command, SetupError } from './stages.mjs'
import { checkPython, remedyFor } from './tools.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const { findBrowser } = createRequire(import.meta.url)('./find.cjs')

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

/** A Chromium or Chrome for the browser tests: found, or installed by the system's packages where we may. */
export async function ensureBrowser(note) {
  if (findBrowser()) return undefined
  if (process.getuid?.() === 0 && fs.existsSync('/usr/bin/apt-get')) {
    const env = { DEBIAN_FRONTEND: 'noninteractive' }
    await command('apt-get', ['update', '-qq'], { note, env })
    await command('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], { note, env })
    const found = findBrowser()
    if (found) return found
  }
  throw new SetupError(`no Chromium or Chrome found: ${remedyFor('chromium')}, or set CHROME_PATH`)
}
