// Proves that the addon compiles and works with other versions of libtorch: fetches each, builds against it, runs the fast
// tests of the addon and its kernels, and deletes it again. About 5 minutes and 3 GB of disk a version on 2 cores.
//   node native/setup/check-versions.mjs [VERSION …]      (default: 2.10.0 2.12.0)
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchLibtorch } from './libtorch.mjs'
import { seconds } from './stages.mjs'

const { home } = createRequire(import.meta.url)('./find.cjs')
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')
/** Up to 2.10 the wheels are made for CUDA 12. */
const CUDA_12 = ['nvidia-cuda-runtime-cu12==12.8.90', 'nvidia-cuda-cupti-cu12==12.8.90']

function step(what, args, env) {
  const start = Date.now()
  const result = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...env }, maxBuffer: 2 ** 28 })
  console.log(`  ${result.status === 0 ? '✓' : '✗'} ${what} (${seconds(start)})`)
  if (result.status !== 0) console.log((result.stdout + result.stderr).slice(-6000))
  return result.status === 0
}

async function check(version) {
  console.log(`libtorch ${version}`)
  const folder = path.join(home(), 'versions', version)
  const libtorch = path.join(folder, 'libtorch')
  const env = { FETTLE_LIBTORCH: path.join(libtorch, 'torch'), FETTLE_HOME: folder, OMP_NUM_THREADS: '1' }
  fs.mkdirSync(folder, { recursive: true })
  const companions = Number(version.split('.')[1]) <= 10 ? CUDA_12 : undefined
  if (!fs.existsSync(libtorch)) await fetchLibtorch(libtorch, { torch: `torch==${version}`, companions, gpu: false })
  const tests = ['native', 'kernels'].map((name) => path.join('tests', 'dist', 'fast', name)).filter((name) => fs.existsSync(path.join(root, name)))
  const passed = step('builds', ['native/setup/build.mjs', '--quiet'], env) && step('fast tests', ['--test', ...tests], env)
  if (passed) fs.rmSync(folder, { recursive: true })
  return passed
}

const versions = process.argv.slice(2)
for (const version of versions.length ? versions : ['2.10.0', '2.12.0']) if (!(await check(version))) process.exitCode = 1
