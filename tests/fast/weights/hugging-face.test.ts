import * as assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { scope, tensor } from 'fettle-native'
import { openWeights, writeSafetensors, writeShardedSafetensors } from 'fettle/dist/models/weights'
import { fixture } from '../../support/paths'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

function sharded(t: TestContext): string {
  const folder = temporaryFolder(t)
  writeFileSync(path.join(folder, 'config.json'), '\uFEFF{"model_type":"llama"}')
  scope(() => writeShardedSafetensors(folder, new Map([['a', tensor([1, 2])], ['b', tensor([3, 4])]]), { maxShardBytes: 8 }))
  return folder
}

test('a folder gives configuration, names, shapes, weights and its tokenizer', t => {
  const folder = sharded(t)
  writeFileSync(path.join(folder, 'generation_config.json'), '{"eos_token_id":[1,2]}')
  const weights = openWeights(folder)
  assert.equal(weights.kind, 'safetensors')
  assert.equal(weights.config.model_type, 'llama')
  assert.deepEqual(weights.generationConfig, { eos_token_id: [1, 2] })
  assert.deepEqual(weights.info('b'), { shape: [2], dtype: 'float32' })
  assert.deepEqual(weights.tokenizer(), { kind: 'file', folder })
  assert.ok(weights.has('a') && !weights.has('c'))
  scope(() => assert.deepEqual(weights.read('b').toArray(), [3, 4]))
  refusal(() => weights.read('c'), 'model.tensor', 'no weight "c"', '2 tensors, such as a, b')
  weights.close()
  scope(() => assert.deepEqual(weights.read('b').toArray(), [3, 4]))
})

test('a file of a folder stands for the folder, and a lone .gguf for itself', t => {
  const folder = sharded(t)
  assert.equal(openWeights(path.join(folder, 'model-00001-of-00002.safetensors')).path, folder)
  const other = temporaryFolder(t)
  copyFileSync(fixture('gguf', 'mixed.gguf'), path.join(other, 'm.gguf'))
  assert.equal(openWeights(other).kind, 'gguf')
  copyFileSync(fixture('gguf', 'mixed.gguf'), path.join(other, 'n.gguf'))
  refusal(() => openWeights(other), 'model.path', '2 .gguf files', 'm.gguf, n.gguf')
})

test('broken folders are refused with what is missing', t => {
  const folder = sharded(t)
  const index = path.join(folder, 'model.safetensors.index.json')
  const sound = readFileSync(index, 'utf8')
  writeFileSync(index, sound.replace('"b"', '"c"'))
  refusal(() => openWeights(folder), 'model.index', '"c" is in model-00002-of-00002.safetensors, which does not have it')
  writeFileSync(index, JSON.stringify({ weight_map: { a: 'model-00001-of-00002.safetensors', b: '../x.safetensors' } }))
  refusal(() => openWeights(folder), 'model.index', 'same folder')
  writeFileSync(index, '{"weight_map": {')
  refusal(() => openWeights(folder), 'model.json', 'not valid JSON')
  writeFileSync(index, '[]')
  refusal(() => openWeights(folder), 'model.json', 'expected a JSON object')
  writeFileSync(index, sound)
  scope(() => writeSafetensors(path.join(folder, 'model-00001-of-00002.safetensors'), new Map([['a', tensor([1, 2])], ['b', tensor([3, 4])]])))
  refusal(() => openWeights(folder), 'model.index', 'tensor "b" is in model-00001-of-00002.safetensors too')
  scope(() => writeSafetensors(path.join(folder, 'model-00001-of-00002.safetensors'), new Map([['a', tensor([1, 2])], ['z', tensor([3, 4])]])))
  refusal(() => openWeights(folder), 'model.index', 'tensor "z"', 'not in the index')
  rmSync(path.join(folder, 'model-00001-of-00002.safetensors'))
  refusal(() => openWeights(folder), 'model.shard', 'model-00001-of-00002.safetensors', 'missing')
  rmSync(path.join(folder, 'config.json'))
  refusal(() => openWeights(folder), 'model.json', 'config.json', 'ENOENT')
})

test('folders and files that are no model are told apart', t => {
  const folder = temporaryFolder(t)
  refusal(() => openWeights(path.join(folder, 'none')), 'model.path', 'does not exist')
  refusal(() => openWeights(folder), 'model.path', 'it has nothing')
  writeFileSync(path.join(folder, 'notes.txt'), '')
  refusal(() => openWeights(path.join(folder, 'notes.txt')), 'model.path', 'neither a model folder')
  writeFileSync(path.join(folder, 'adapter_config.json'), '{}')
  refusal(() => openWeights(folder), 'model.path', 'is an adapter')
})

test('a folder of links, as Python caches it, opens', t => {
  const blobs = sharded(t)
  const folder = path.join(temporaryFolder(t), 'snapshots', 'abc')
  mkdirSync(folder, { recursive: true })
  for (const name of ['config.json', 'model.safetensors.index.json', 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']) {
    symlinkSync(path.join(blobs, name), path.join(folder, name))
  }
  scope(() => assert.deepEqual(openWeights(folder).read('a').toArray(), [1, 2]))
})
