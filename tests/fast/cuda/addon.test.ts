import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import * as path from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'node:test'
import { CudaGraph, cudaKernels, home, load, NativeError } from 'fettle-native'
import { repoRoot } from '../../support/paths'

interface Build {
  buildPlan(): { folder: string }
  buildCudaAddon(name: 'graphs' | 'nccl', plan: { folder: string }, report: () => void, forced: boolean): Promise<string | undefined>
}

const skip = existsSync(path.join(home(), 'cuda')) ? false : "needs CUDA's headers: npm run setup -- --with cuda"

test('graphs.node compiles with the headers of the wheels, loads, and refuses a graph that was never recorded', { skip }, async (t) => {
  const build = (await (new Function('url', 'return import(url)') as (url: string) => Promise<Build>)(pathToFileURL(path.join(repoRoot, 'native', 'setup', 'build.mjs')).href))
  const folder = mkdtempSync(path.join(tmpdir(), 'fettle-graphs-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const file = await build.buildCudaAddon('graphs', { ...build.buildPlan(), folder }, () => undefined, true)
  assert.equal(file, path.join(folder, 'graphs.node'))
  load()
  const addon = require(file) as Record<string, (graph: number) => number>
  assert.deepEqual(Object.keys(addon).sort(), ['abandon', 'begin', 'end', 'free', 'replay'])
  for (const name of ['abandon', 'end', 'free', 'replay']) assert.throws(() => addon[name](5), /expected a recorded graph, got 5/)
})

test('a graph cannot be recorded without a GPU', { skip: cudaKernels().obstacle === null ? 'there is a GPU' : false }, () => {
  assert.throws(() => CudaGraph.record(0, () => undefined), (error: NativeError) => error.code === 'native.missing' && /--with cuda/.test(error.message))
})
