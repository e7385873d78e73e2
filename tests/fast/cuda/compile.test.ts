import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { compileKernels, cudaFiles, cudaKernels, NativeError, nvrtcArchitectures } from 'fettle-native'
import { repoRoot } from '../../support/paths'

const { nvrtc } = cudaKernels(), skip = nvrtc === null ? 'needs NVRTC: npm run setup -- --with cuda' : false
/** What every NVRTC that is supported compiles for, and the newest where it knows it. */
const wanted = nvrtc === null ? [] : [80, 90, 100].filter((architecture) => nvrtcArchitectures().includes(architecture))

test('every text of kernels is one that the addon knows', () => {
  const texts = readdirSync(path.join(repoRoot, 'native', 'kernels', 'cuda')).filter((name) => name.endsWith('.cu')).map((name) => name.slice(0, -3))
  assert.deepEqual(texts.sort(), [...cudaFiles].sort())
})

for (const file of cudaFiles) {
  test(`NVRTC compiles ${file}.cu for every architecture, without a warning`, { skip }, () => {
    assert.ok(wanted.includes(80) && wanted.includes(90))
    for (const architecture of [...wanted.map((number) => `sm_${number}`), 'compute_90']) {
      const { log, bytes } = compileKernels(file, architecture)
      assert.equal(log, '', architecture)
      assert.ok(bytes > 1000, `${architecture}: ${bytes} bytes`)
    }
  })
}

test('every kernel of the texts is in the list that is compiled', () => {
  const folder = path.join(repoRoot, 'native', 'kernels', 'cuda'), list = readFileSync(path.join(folder, 'list.h'), 'utf8')
  for (const file of cudaFiles)
    for (const [, name] of readFileSync(path.join(folder, `${file}.cu`), 'utf8').matchAll(/__global__ void (\w+)\(/g)) assert.match(list, new RegExp(`, ${name}\\)`), `${name} of ${file}.cu`)
})

test('an architecture that does not exist is refused with the compiler\'s words', { skip }, () => {
  assert.throws(() => compileKernels('norm', 'sm_1'), (error: NativeError) => error.code === 'native.torch' && /norm\.cu for sm_1/.test(error.message))
})

test('a machine without a GPU says why kernels cannot run', { skip: cudaKernels().obstacle === null ? 'there is a GPU' : false }, () => {
  const { obstacle, architectures } = cudaKernels()
  assert.match(obstacle!, /no GPU|NVRTC/)
  assert.deepEqual(architectures, [])
})
