// Fetches libtorch from the Python wheel when the machine has none, into .fettle/libtorch.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { command, SetupError } from './stages.mjs'
import { checkPython } from './tools.mjs'

const require = createRequire(import.meta.url)
const { findLibtorch, hasNvidiaDriver, home, versionOf } = require('./find.cjs')

const TORCH = 'torch==2.15.0'
/** libtorch_cpu.so of the CUDA wheels needs these two even where there is no GPU. */
const CPU_COMPANIONS = ['nvidia-cuda-runtime==13.2.86', 'nvidia-cuda-cupti==13.2.86']
/** The libraries that run on a CPU. */
const CPU_LIBRARIES = /^(libtorch_cpu|libc10|libgomp|libgfortran|libarm_compute|libopenblas|libtorch)[.-]/

/** Wheels are asked for by platform, so that any Python from 3.9 can fetch them. */
function wheelOptions() {
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  // pip matches a named platform exactly, so every glibc that a wheel may be tagged with is listed.
  const platforms = Array.from({ length: 12 }, (_, i) => `--platform=manylinux_2_${28 - i}_${machine}`).concat(`--platform=manylinux2014_${machine}`)
  return ['--only-binary=:all:', '--python-version=3.12', '--implementation=cp', '--abi=cp312', ...platforms]
}

/** Deletes what only Python or a GPU would use: 1.2 GB become 0.5 GB. */
function trim(folder) {
  const torch = path.join(folder, 'torch')
  const kept = new Set(['lib', 'include', 'version.py'])
  for (const name of fs.readdirSync(torch)) if (!kept.has(name)) fs.rmSync(path.join(torch, name), { recursive: true })
  for (const name of fs.readdirSync(path.join(torch, 'lib'))) if (!CPU_LIBRARIES.test(name)) fs.rmSync(path.join(torch, 'lib', name), { recursive: true })
  for (const name of fs.readdirSync(folder)) if (!['torch', 'nvidia'].includes(name)) fs.rmSync(path.join(folder, name), { recursive: true })
}

/**
 * Fetches torch wheels into `folder`, which appears only when complete. On a GPU machine the wheel's own requirements (cuBLAS,
 * cuDNN, NCCL, …) come along; elsewhere what a CPU does not need is deleted.
 */
export async function fetchLibtorch(folder, { torch = TORCH, companions = CPU_COMPANIONS, gpu = hasNvidiaDriver(), note } = {}) {
  const python = checkPython(['pip'])
  const temporary = `${folder}.${process.pid}.tmp`
  const wanted = gpu ? [torch] : ['--no-deps', torch, ...companions]
  const options = ['--disable-pip-version-check', '--no-compile', '--no-cache-dir', '--progress-bar=off']
  const remedy = 'libtorch could not be fetched; check the network or set FETTLE_LIBTORCH to a torch folder (2.10 to 2.15)'
  fs.rmSync(temporary, { recursive: true, force: true })
  try {
    await command(python, ['-m', 'pip', 'install', '--target', temporary, ...options, ...wheelOptions(), ...wanted], { note, remedy })
    if (!gpu) trim(temporary)
    fs.rmSync(folder, { recursive: true, force: true })
    fs.renameSync(temporary, folder)
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true })
  }
}

/** Uses the libtorch that is there, or fetches one. Returns what to say. */
export async function ensureLibtorch(note) {
  const found = findLibtorch()
  if (found.folder) return undefined
  const named = found.rejected.find((r) => r.source === 'FETTLE_LIBTORCH' || r.source === 'LIBTORCH')
  if (named) throw new SetupError(`${named.source}=${named.folder} cannot serve: ${named.reason}; correct or unset it`)
  const folder = path.join(home(), 'libtorch')
  await fetchLibtorch(folder, { note })
  return `${versionOf(path.join(folder, 'torch'))} fetched`
}
