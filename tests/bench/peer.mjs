// The Python that the peers run in: FETTLE_PEER, or a private environment of the checkout with pinned versions.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const packages = ['torch==2.15.0', 'transformers==5.23.0', 'peft==0.21.2', 'numpy']

function must(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ` with exit code ${status}`}; set FETTLE_PEER to a Python that has ${packages.join(', ')}`)
}

/** Path of a Python with torch, transformers and peft. */
export function peerPython(folder) {
  if (process.env.FETTLE_PEER) return process.env.FETTLE_PEER
  const python = join(folder, 'bin', 'python'), stamp = join(folder, 'packages.txt'), wanted = packages.join('\n')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return python
  console.log(`Making the peer's Python environment in ${folder}: ${packages.join(', ')} (several GB, once)`)
  mkdirSync(folder, { recursive: true })
  must('python3', ['-m', 'venv', folder])
  must(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages])
  writeFileSync(stamp, wanted)
  return python
}

/** The allocator that the best loop runs on; undefined when this machine lacks it. */
export function tcmalloc() {
  const folders = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib', '/usr/local/lib']
  return folders.flatMap((f) => ['libtcmalloc_minimal.so.4', 'libtcmalloc.so.4'].map((n) => join(f, n))).find(existsSync)
}
