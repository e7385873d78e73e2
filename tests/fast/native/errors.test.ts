import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backward, call, NativeError, ops, tensor, Tensor } from 'fettle-native'

const x = tensor([1, 2, 3, 4], [2, 2])

function failure(body: () => unknown): NativeError {
  try {
    body()
  } catch (error) {
    assert.ok(error instanceof NativeError, String(error))
    return error
  }
  throw new assert.AssertionError({ message: 'expected a NativeError' })
}

test('an error names the operator, the shapes and dtypes, and the line in JavaScript', () => {
  const error = failure(function theCaller() { ops.mm(x, tensor([1n, 2n, 3n])) })
  assert.equal(error.code, 'native.torch')
  assert.equal(error.operator, 'aten::mm')
  assert.deepEqual(error.shapes, ['self: float32 [2, 2] cpu', 'mat2: int64 [3] cpu'])
  assert.match(error.message, /aten::mm.*float32 \[2, 2\]/)
  assert.match(error.stack ?? '', /theCaller/)
  assert.doesNotMatch(error.message, /frame #\d/)
})

test('tensors in lists are shown too', () => {
  assert.deepEqual(failure(() => ops.cat([x, tensor([1])])).shapes, ['tensors[0]: float32 [2, 2] cpu', 'tensors[1]: float32 [1] cpu'])
})

test('wrong arguments are named by parameter', () => {
  const cases: [() => unknown, RegExp][] = [
    [() => ops.mm(x, 3 as unknown as Tensor), /Tensor for 'mat2', got number 3/],
    [() => ops.mm(x, undefined as unknown as Tensor), /'mat2' is missing/],
    [() => ops.reshape(x, 4 as unknown as number[]), /array for 'shape'/],
    [() => ops.reshape(x, [1.5, 2]), /integer.*1\.5.*'shape'/],
    [() => ops.transpose(x, 0, x as unknown as number), /'dim1' does not take a Tensor/],
    [() => ops.cat([x, 1 as unknown as Tensor]), /Tensors in 'tensors', got number 1/],
    [() => ops.sum(x, { dtipe: 'float32' } as object), /unknown option 'dtipe'.*dtype/],
    [() => call('mm', '', x, x, x), /at most 2 arguments, got 3/],
    [() => ops.mm_out(1 as unknown as Tensor, x, x), /out tensor first/],
  ]
  for (const [body, message] of cases) {
    const error = failure(body)
    assert.equal(error.code, 'native.argument')
    assert.match(error.message, message)
  }
})

test('an unknown operator and an unknown device are errors, not crashes', () => {
  assert.equal(failure(() => call('aten::no_such', '')).code, 'native.operator')
  assert.match(failure(() => ops.zeros([1], { device: 'warp:0' })).message, /warp/)
})

test('memory that cannot be had is a typed error', () => {
  assert.equal(failure(() => ops.empty([1e14])).code, 'native.memory')
})

test('a failing backward is an error', () => {
  assert.match(failure(() => backward(x)).message, /grad/)
})

test('errors keep coming after errors', () => {
  for (let i = 0; i < 1000; i++) failure(() => ops.mm(x, tensor([1])))
  assert.deepEqual(ops.mm(x, x).toArray(), [7, 10, 15, 22])
})
