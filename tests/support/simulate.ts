import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import * as path from 'node:path'
import { call, home } from 'fettle-native'
import { repoRoot } from './paths'

const kernels = path.join(repoRoot, 'native', 'kernels', 'cuda'), compiler = process.env.CXX ?? 'g++'

/** Kernels for GPUs, given tensors on the CPU, run there from now on: the same text, compiled by the C++ compiler. The library is kept by its content. */
export function simulateKernels(): void {
  const sources = [kernels, path.join(kernels, 'simulate')].flatMap((folder) => readdirSync(folder).filter((name) => /\.(cu|cuh|h|cpp)$/.test(name)).map((name) => path.join(folder, name)))
  const hash = createHash('sha256')
  for (const file of sources.sort()) hash.update(readFileSync(file))
  const library = path.join(home(), 'simulate', `${hash.digest('hex').slice(0, 24)}.so`)
  if (!existsSync(library)) {
    mkdirSync(path.dirname(library), { recursive: true })
    const temporary = `${library}.${process.pid}`
    execFileSync(compiler, ['-std=c++20', '-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-DFETTLE_SIMULATE', '-I', kernels, path.join(kernels, 'simulate', 'simulate.cpp'), '-o', temporary])
    renameSync(temporary, library)
  }
  call('fettle_cuda::simulate', '', library)
}
