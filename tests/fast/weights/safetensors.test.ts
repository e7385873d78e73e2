import * as assert from 'node:assert/strict'
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { fromBytes, ops, scope, tensor, type DType, type Tensor } from 'fettle-native'
import { openWeights, readSafetensors, readSafetensorsHeader, writeSafetensors, writeShardedSafetensors } from 'fettle/dist/models/weights'
import { fixture } from '../../support/paths'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

const mixed = fixture('safetensors', 'mixed.safetensors')

/** A safetensors file with the given header text and data. */
function file(folder: string, header: string | Buffer, data = 0, announced?: number): string {
  const text = Buffer.from(header)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(announced ?? text.length))
  const target = path.join(folder, 'x.safetensors')
  writeFileSync(target, Buffer.concat([length, text, Buffer.alloc(data)]))
  return target
}

test('a file by the reference library is written again byte for byte', t => {
  const target = path.join(temporaryFolder(t), 'deep', 'copy.safetensors')
  const tensors = readSafetensors(mixed)
  assert.equal(tensors.size, 14)
  writeSafetensors(target, tensors)
  assert.ok(readFileSync(target).equals(readFileSync(mixed)))
  assert.deepEqual(readdirSync(path.dirname(target)), ['copy.safetensors'])
  for (const one of tensors.values()) one.free()
})

test('tensors are read with their types, shapes and values', () => scope(() => {
  const tensors = readSafetensors(mixed)
  const kinds: [string, DType, number[]][] = [
    ['bool', 'bool', [3]], ['u8', 'uint8', [5]], ['i8', 'int8', [7]], ['i16', 'int16', [7]], ['half', 'float16', [3, 5]], ['brain', 'bfloat16', [2, 3, 4]],
    ['i32', 'int32', [2, 3]], ['weight', 'float32', [4, 6]], ['double', 'float64', [2]], ['long', 'int64', [2]], ['scalar', 'float32', []], ['none', 'float32', [0, 4]],
  ]
  for (const [name, dtype, shape] of kinds) {
    assert.equal(tensors.get(name)!.dtype, dtype)
    assert.deepEqual([...tensors.get(name)!.shape], shape)
  }
  assert.deepEqual(tensors.get('i8')!.toArray(), [-3, -2, -1, 0, 1, 2, 3])
  assert.deepEqual([...tensors.get('long')!.toBigInt64Array()], [2n ** 60n, -1n])
  assert.equal(tensors.get('scalar')!.item(), 2.5)
  assert.deepEqual(tensors.get('größe 🙂 "x"')!.toArray(), [1])
}))

test('an unaligned tensor is read right', t => scope(() => {
  const header = JSON.stringify({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] }, b: { dtype: 'F32', shape: [2], data_offsets: [1, 9] } })
  const target = file(temporaryFolder(t), header, 9)
  const bytes = readFileSync(target)
  bytes.writeFloatLE(1.5, bytes.length - 8)
  bytes.writeFloatLE(-2, bytes.length - 4)
  writeFileSync(target, bytes)
  assert.deepEqual(readSafetensors(target).get('b')!.toArray(), [1.5, -2])
}))

test('writing over the file that tensors are mapped from keeps both right', t => scope(() => {
  const target = path.join(temporaryFolder(t), 'm.safetensors')
  copyFileSync(mixed, target)
  const tensors = readSafetensors(target)
  const before = tensors.get('weight')!.toArray()
  writeSafetensors(target, new Map([['other', tensor([1, 2])]]))
  assert.deepEqual(tensors.get('weight')!.toArray(), before)
  assert.deepEqual([...readSafetensorsHeader(target).tensors.keys()], ['other'])
}))

test('a failed write leaves the old file and nothing else', t => {
  const folder = temporaryFolder(t)
  const target = path.join(folder, 'm.safetensors')
  writeFileSync(target, 'old')
  const freed = tensor([1])
  const entries = new Map([['a', freed]])
  Object.defineProperty(freed, 'writeBytes', { value: () => { throw new RangeError('boom') } })
  assert.throws(() => writeSafetensors(target, entries), /boom/)
  assert.deepEqual(readdirSync(folder), ['m.safetensors'])
  assert.equal(readFileSync(target, 'utf8'), 'old')
  freed.free()
  writeFileSync(path.join(folder, 'plain'), '')
  refusal(() => writeSafetensors(path.join(folder, 'plain', 'm.safetensors'), new Map()), 'model.write', 'a part of the path is a file', 'choose another folder')
})

test('tensors of more than a piece, and views that are not contiguous, are streamed right', t => scope(() => {
  const target = path.join(temporaryFolder(t), 'm.safetensors')
  const wide = ops.arange(0, 24 << 20, 1, { dtype: 'float32' })
  const grid = ops.reshape(wide, [3, 8 << 20])
  const turned = ops.t(ops.reshape(ops.arange(0, 12, 1, { dtype: 'float32' }), [3, 4]))
  writeSafetensors(target, new Map([['grid', grid], ['turned', turned], ['one', ops.reshape(wide, [1, 2, 12 << 20])]]))
  const back = readSafetensors(target)
  assert.ok(ops.equal(back.get('grid')!, grid))
  assert.ok(ops.equal(back.get('turned')!, turned))
  assert.ok(ops.equal(ops.reshape(back.get('one')!, [-1]), wide))
}))

test('shards: cut by size, indexed, read again, and cleaned when the cut changes', t => scope(() => {
  const folder = temporaryFolder(t)
  const entries = new Map<string, Tensor>(Array.from({ length: 5 }, (_, i) => [`w${i}`, fromBytes(new Float32Array(10).fill(i), [2, 5], 'float32')]))
  writeFileSync(path.join(folder, 'config.json'), '{}')
  assert.deepEqual(writeShardedSafetensors(folder, entries, { maxShardBytes: 100 }),
    ['model-00001-of-00003.safetensors', 'model-00002-of-00003.safetensors', 'model-00003-of-00003.safetensors', 'model.safetensors.index.json'])
  const index = JSON.parse(readFileSync(path.join(folder, 'model.safetensors.index.json'), 'utf8'))
  assert.equal(index.metadata.total_size, 200)
  const weights = openWeights(folder)
  assert.deepEqual(weights.names().sort(), [...entries.keys()])
  for (const [name, value] of entries) assert.ok(ops.equal(weights.read(name), value))
  assert.equal(weights.read('w3', { dtype: 'bfloat16' }).dtype, 'bfloat16')
  weights.close()
  assert.deepEqual(writeShardedSafetensors(folder, entries, { maxShardBytes: 1000 }), ['model.safetensors'])
  assert.deepEqual(readdirSync(folder).sort(), ['config.json', 'model.safetensors'])
  writeShardedSafetensors(folder, entries, { maxShardBytes: 10 })
  assert.equal(openWeights(folder).names().length, 5)
  assert.ok(!existsSync(path.join(folder, 'model.safetensors')))
}))

test('broken files are refused with what was seen', t => {
  const folder = temporaryFolder(t)
  const whole = readFileSync(mixed)
  const read = (name: string) => () => readSafetensorsHeader(name)
  const entry = (value: object) => JSON.stringify({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...value } })
  const code = 'model.safetensors'
  refusal(read(path.join(folder, 'none')), code, 'ENOENT')
  const cut = path.join(folder, 'cut.safetensors')
  for (const length of [0, 5, 20, whole.length - 1]) {
    writeFileSync(cut, whole.subarray(0, length))
    refusal(read(cut), code, length < 8 ? `${length} bytes` : 'cut off', 'again')
  }
  writeFileSync(cut, Buffer.concat([whole, Buffer.from('more')]))
  refusal(read(cut), code, '4 bytes after its last tensor')
  writeFileSync(cut, 'version https://git-lfs.github.com/spec/v1\noid sha256:1\n')
  refusal(read(cut), code, 'Git LFS pointer', 'git lfs pull')
  refusal(read(file(folder, '{}', 0, 1e12)), code, 'not a safetensors file')
  refusal(read(file(folder, '{"a":', 0)), code, 'broken header')
  refusal(read(file(folder, '[]', 0)), code, 'not a JSON object')
  refusal(read(file(folder, Buffer.from([0x7b, 0xff, 0x7d]))), code, 'UTF-8')
  refusal(read(file(folder, entry({ dtype: 'F8_E4M3' }), 8)), code, '"F8_E4M3"', 'BF16')
  refusal(read(file(folder, entry({ shape: [-2] }), 8)), code, 'shape [-2]')
  refusal(read(file(folder, entry({ shape: [3] }), 8)), code, 'needs 12 bytes', 'span 8')
  refusal(read(file(folder, entry({ data_offsets: [8, 0] }), 8)), code, 'data_offsets [8,0]')
  refusal(read(file(folder, entry({ data_offsets: [8, 16] }), 16)), code, 'belong to no tensor')
  refusal(read(file(folder, entry({}), 4)), code, 'cut off')
  refusal(read(file(folder, '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}', 12)), code, 'inside the tensor')
  refusal(read(file(folder, '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', 8)), code, '"a" twice')
  refusal(read(file(folder, '{"__metadata__":{"a":1}}')), code, '__metadata__')
  refusal(() => readSafetensorsHeader(file(folder, '{"a":1}')), code, 'undefined')
})
