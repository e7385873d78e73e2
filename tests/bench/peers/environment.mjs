// The Python that each peer runs in: a private environment with pinned versions, all on one torch, which is several GB.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { EnvironmentError } from '../error.mjs'

/** What all peers share: torch, which is several GB. */
export const shared = ['torch==2.15.0', 'numpy', 'safetensors']

/** Peers by name, with what they need beside torch. */
export const packages = {
  peft: ['transformers==5.23.0', 'peft==0.21.2'],
  trl: ['trl==1.16.0', 'transformers==5.23.0', 'peft==0.21.2', 'accelerate==1.15.0', 'datasets==5.2.0'],
  torchtune: ['torchtune==0.6.1', 'torchao==0.10.0'],
}

function must(command, args, wanted, variable) {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  if (error || status !== 0) {
    throw new EnvironmentError('bench.environment', `${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ` with exit code ${status}`}; mend what it says, or set ${variable} to a Python that has ${wanted.join(', ')}`, { command, args, status })
  }
}

/** Makes a virtual environment unless it stands with just these packages. `beside`: site-packages that it sees beside its own. */
export function environment(folder, wanted, beside, variable = 'FETTLE_PEER') {
  const python = join(folder, 'bin', 'python'), stamp = join(folder, 'packages.txt'), text = wanted.join('\n')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === text) return python
  console.error(`Making a Python environment in ${folder}: ${wanted.join(', ')}${wanted === shared ? ' (several GB, once)' : ''}`)
  mkdirSync(folder, { recursive: true })
  must('python3', ['-m', 'venv', folder], wanted, variable)
  if (beside) writeFileSync(join(sitePackages(python), 'shared.pth'), `${beside}\n`)
  must(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...wanted], wanted, variable)
  writeFileSync(stamp, text)
  return python
}

function sitePackages(python) {
  return spawnSync(python, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], { encoding: 'utf8' }).stdout.trim()
}

/** Path of a Python with torch and the peer's packages: FETTLE_PEER, or the environment `folder/<peer>`, made where it is missing. */
export function peerPython(folder, peer) {
  if (process.env.FETTLE_PEER) return process.env.FETTLE_PEER
  const site = sitePackages(environment(join(folder, 'base'), shared, null))
  return environment(join(folder, peer), packages[peer], site)
}
