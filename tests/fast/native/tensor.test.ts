import assert from 'node:assert/strict'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { forgetPages, fromBytes, mapFile, NativeError, ops, tensor, type DType } from 'fettle-native'

const folder = mkdtempSync(join(tmpdir(), 'fettle-native-'))
after(() => rmSync(folder, { recursive: true }))

test('a tensor takes its dtype from the array and its shape from the caller', () => {
  assert.equal(tensor([1, 2, 3]).dtype, 'float32')
  assert.equal(tensor([1n, 2n]).dtype, 'int64')
  assert.equal(tensor([true, false]).dtype, 'bool')
  assert.equal(tensor(new Int32Array(4), [2, 2]).dtype, 'int32')
  assert.deepEqual(tensor([1, 2, 3, 4, 5, 6], [2, 3]).shape, [2, 3])
  assert.deepEqual(tensor([], [0, 3]).shape, [0, 3])
  assert.deepEqual(tensor([7], []).shape, [])
})

test('numbers survive the way into every dtype and back', () => {
  const types: DType[] = ['float32', 'float64', 'bfloat16', 'float16', 'int8', 'int16', 'int32', 'int64', 'uint8']
  for (const dtype of types) {
    const t = tensor([0, 1, 2, 100], [2, 2], dtype)
    assert.equal(t.dtype, dtype)
    assert.deepEqual(t.toArray(), [0, 1, 2, 100], dtype)
    assert.deepEqual(fromBytes(t.toBytes(), [4], dtype).toArray(), [0, 1, 2, 100], dtype)
  }
  assert.deepEqual(tensor([0, 2, 1], undefined, 'bool').toArray(), [0, 1, 1])
})

test('large integers stay exact', () => {
  const big = 2n ** 60n + 1n
  assert.deepEqual(tensor([big]).toBigInt64Array(), BigInt64Array.from([big]))
})

test('a Uint16Array holds raw bfloat16 patterns, and needs the dtype', () => {
  assert.deepEqual(tensor(new Uint16Array([0x3f80, 0xc000]), [2], 'bfloat16').toArray(), [1, -2])
  assert.throws(() => tensor(new Uint16Array(2)), { code: 'native.argument' })
})

test('a view of a typed array is copied from its own offset', () => {
  const whole = Float32Array.from([9, 1, 2, 9])
  assert.deepEqual(tensor(whole.subarray(1, 3)).toArray(), [1, 2])
})

test('a shape that does not fit the data is refused with both sizes', () => {
  assert.throws(() => tensor([1, 2, 3], [2, 2]), (e: NativeError) => e.code === 'native.argument' && /16 bytes.*12/.test(e.message))
  assert.throws(() => tensor([1], [-1]), { code: 'native.argument' })
})

test('toFloat32Array and toBytes read views in row-major order', () => {
  const t = ops.transpose(tensor([1, 2, 3, 4, 5, 6], [2, 3]), 0, 1)
  assert.equal(t.isContiguous, false)
  assert.deepEqual([...t.toFloat32Array()], [1, 4, 2, 5, 3, 6])
  assert.equal(t.toBytes().length, 24)
})

test('item reads one element and refuses more', () => {
  assert.equal(tensor([2.5]).item(), 2.5)
  assert.throws(() => tensor([1, 2]).item(), { code: 'native.argument' })
})

test('shape and dtype follow an operator that changes the tensor in place', () => {
  const t = tensor([1, 2, 3, 4])
  assert.deepEqual(t.shape, [4])
  assert.equal(ops.resize_(t, [2, 2]), t)
  assert.deepEqual(t.shape, [2, 2])
  const values = tensor([0]), indices = tensor([0n])
  assert.deepEqual(values.shape, [1])
  ops.resize_(values, [0])
  ops.sort(t, 1)
  assert.deepEqual([values.shape, indices.shape], [[0], [1]])
})

test('a mapped file is read without a copy and written only in memory', () => {
  const path = join(folder, 'numbers.bin')
  writeFileSync(path, Buffer.from(Float32Array.from([1, 2, 3, 4]).buffer))
  const file = mapFile(path)
  assert.equal(file.length, 16)
  const a = file.tensor(0, [4], 'float32'), b = file.tensor(4, [3], 'float32')
  assert.equal(b.dataPointer - a.dataPointer, 4)
  file.close()
  ops.mul_(a, 10)
  assert.deepEqual(b.toArray(), [20, 30, 40])
  assert.deepEqual(mapFile(path).tensor(0, [4], 'float32').toArray(), [1, 2, 3, 4])
})

test('bytes go into an open file from where they lie, and a full disk says so', { skip: !existsSync('/dev/full') && 'no /dev/full here' }, () => {
  const path = join(folder, 'written.bin'), t = tensor(Float32Array.from({ length: 24 }, (_, i) => i), [4, 6]), turned = ops.t(t), file = openSync(path, 'w'), full = openSync('/dev/full', 'w')
  for (const each of [t, turned, ops.zeros([0])]) each.writeBytes(file)
  closeSync(file)
  assert.deepEqual([...readFileSync(path)], [t, turned].flatMap((each) => [...each.toBytes()]))
  assert.throws(() => t.writeBytes(full), { name: 'NativeError', code: 'ENOSPC' })
  closeSync(full)
})

test('pages of a mapped tensor can be given back, and are read again', { skip: !existsSync('/proc/self/smaps') && 'no /proc here' }, () => {
  const path = join(folder, 'pages.bin'), count = 1 << 18, numbers = Float32Array.from({ length: count }, (_, i) => i % 7)
  writeFileSync(path, Buffer.from(numbers.buffer))
  const resident = (): number => [...readFileSync('/proc/self/smaps', 'utf8').matchAll(/pages\.bin\n(?:.*\n)*?Rss:\s+(\d+) kB/g)].reduce((sum, [, kB]) => sum + Number(kB), 0)
  const file = mapFile(path), first = file.tensor(0, [count / 2], 'float32'), rest = file.tensor(2 * count, [count / 2], 'float32')
  file.close()
  const sums = [first, rest].map((t) => ops.sum(t).item())
  assert.equal(resident(), 1024)
  assert.deepEqual([forgetPages(first), resident()], [true, 512])
  assert.deepEqual([first, rest].map((t) => ops.sum(t).item()), sums)
  assert.equal(forgetPages(ops.ones([1 << 16])), false)
})

test('an unaligned tensor in a mapped file is copied, one past the end refused', () => {
  const path = join(folder, 'unaligned.bin')
  writeFileSync(path, Buffer.concat([Buffer.from([0]), Buffer.from(Float32Array.from([5, 6]).buffer)]))
  const file = mapFile(path)
  assert.deepEqual(file.tensor(1, [2], 'float32').toArray(), [5, 6])
  assert.throws(() => file.tensor(4, [2], 'float32'), { code: 'native.file' })
  assert.throws(() => file.tensor(-4, [1], 'float32'), { code: 'native.file' })
  assert.throws(() => file.tensor(0, [2 ** 40, 2 ** 40], 'float32'), { name: 'NativeError' })
  file.close()
  assert.throws(() => file.tensor(0, [1], 'uint8'), { code: 'native.file' })
  assert.throws(() => mapFile(join(folder, 'absent')), (e: NativeError) => e.code === 'native.file' && /No such file/.test(e.message))
})

test('an empty file maps', () => {
  const path = join(folder, 'empty.bin')
  writeFileSync(path, '')
  assert.deepEqual(mapFile(path).tensor(0, [0], 'float32').toArray(), [])
})
