// The Python that the peers run in: FETTLE_PEER, or a private environment of the checkout with pinned versions.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const training = ['torch==2.15.0', 'transformers==5.23.0', 'peft==0.21.2', 'numpy']

function must(command, args, packages, variable) {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ` with exit code ${status}`}; set ${variable} to a Python that has ${packages.join(', ')}`)
}

/** Path of a Python with the packages (torch, transformers and peft): the one that the variable names, or one made in the folder. */
export function peerPython(folder, packages = training, variable = 'FETTLE_PEER') {
  if (process.env[variable]) return process.env[variable]
  const python = join(folder, 'bin', 'python'), stamp = join(folder, 'packages.txt'), wanted = packages.join('\n')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return python
  console.log(`Making the peer's Python environment in ${folder}: ${packages.join(', ')} (${packages === training ? 'several GB, ' : ''}once)`)
  mkdirSync(folder, { recursive: true })
  must('python3', ['-m', 'venv', folder], packages, variable)
  must(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages], packages, variable)
  writeFileSync(stamp, wanted)
  return python
}

/** The allocator that the best loop runs on; undefined when this machine lacks it. */
export function tcmalloc() {
  const folders = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib', '/usr/local/lib']
  return folders.flatMap((f) => ['libtcmalloc_minimal.so.4', 'libtcmalloc.so.4'].map((n) => join(f, n))).find(existsSync)
}
