import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, operator, ops, overloads, tensor, Tensor } from 'fettle-native'

const x = tensor([1, 2, 3, 4], [2, 2])
const eye = tensor([1, 0, 0, 1], [2, 2])

test('tensors, numbers and options reach an operator', () => {
  assert.deepEqual(ops.add(x, eye).toArray(), [2, 2, 3, 5])
  assert.deepEqual(ops.add(x, eye, { alpha: 10 }).toArray(), [11, 2, 3, 14])
  assert.deepEqual(ops.add(x, 2).toArray(), [3, 4, 5, 6])
  assert.deepEqual(ops.mul(x, 0.5).toArray(), [0.5, 1, 1.5, 2])
  assert.equal(ops.pow(x, 2).dtype, 'float32')
  assert.deepEqual(ops.lerp(x, eye, 0.5).toArray(), [1, 1, 1.5, 2.5])
  assert.deepEqual(ops.masked_fill(x, ops.gt(x, 2), 0).toArray(), [1, 2, 0, 0])
})

test('in-place and out variants return the tensor that was passed', () => {
  const t = ops.clone(x)
  assert.equal(ops.add_(t, 1), t)
  assert.deepEqual(t.toArray(), [2, 3, 4, 5])
  const out = ops.empty([2, 2])
  assert.equal(ops.mm_out(out, x, eye), out)
  assert.equal(ops.add_out(out, x, eye, { alpha: 2 }), out)
  assert.deepEqual(out.toArray(), [3, 2, 3, 6])
  assert.equal(ops.sum_out(out, x, [0]), out)
  assert.deepEqual(out.shape, [2])
})

test('lists of numbers, tensors and optional tensors', () => {
  assert.deepEqual(ops.reshape(x, [4, 1]).shape, [4, 1])
  assert.deepEqual(ops.cat([x, eye], 1).shape, [2, 4])
  assert.deepEqual(ops.index(x, [undefined, tensor([1n])]).toArray(), [2, 4])
  assert.deepEqual(ops.split(x, 1).map((t) => t.toArray()), [[1, 2], [3, 4]])
  assert.deepEqual(call('aten::upsample_nearest1d', '', ops.ones([1, 1, 2]), [4]).shape, [1, 1, 4])
  assert.deepEqual(call('aten::_foreach_add', 'ScalarList', [x, eye], [1, 2.5])[1].toArray(), [3.5, 2.5, 2.5, 3.5])
})

test('int[2] and bool[] given as one value are repeated', () => {
  const image = ops.ones([1, 1, 4, 4]), kernel = ops.ones([1, 1, 2, 2])
  assert.deepEqual(ops.conv2d(image, kernel, undefined, 2).shape, [1, 1, 2, 2])
  assert.deepEqual(ops.sum_dim(x, 1).toArray(), [3, 7])
})

test('several results, absent results and plain values', () => {
  const [values, indices] = ops.max_dim(x, 1)
  assert.deepEqual([values.toArray(), indices.toArray(), indices.dtype], [[2, 4], [1, 1], 'int64'])
  assert.equal(ops.equal(x, x), true)
  assert.equal(ops.allclose(x, eye), false)
  const [input, weight, bias] = call('aten::native_layer_norm_backward', '', x, x, [2], ops.zeros([2, 1]), ops.ones([2, 1]), ops.ones([2]), ops.zeros([2]), [true, true, false])
  assert.deepEqual([input.shape, weight.shape, bias], [[2, 2], [2], undefined])
  assert.equal(call('aten::result_type', 'Tensor', x, eye), 6)
})

test('dtypes, devices and memory formats are named as PyTorch names them', () => {
  assert.equal(ops.zeros([2], { dtype: 'bfloat16', device: 'cpu' }).dtype, 'bfloat16')
  assert.equal(ops.to(x, { dtype: 'int64' }).dtype, 'int64')
  assert.equal(ops.to_dtype(x, 'float16').dtype, 'float16')
  assert.deepEqual(ops.empty_like(ops.ones([1, 2, 2, 2]), { memoryFormat: 'channels_last' }).strides, [8, 1, 4, 2])
  assert.throws(() => ops.zeros([1], { dtype: 'float' as 'float32' }), { code: 'native.argument' })
})

test('whole numbers fill integer tensors, bigints stay exact', () => {
  assert.equal(ops.full([1], 3).dtype, 'int64')
  assert.equal(ops.full([1], 3.5).dtype, 'float32')
  assert.equal(ops.full([1], true).dtype, 'bool')
  assert.deepEqual(ops.full([1], 2n ** 60n + 1n).toBigInt64Array(), BigInt64Array.from([2n ** 60n + 1n]))
})

test('the generic call reaches any operator, options in a last object', () => {
  assert.deepEqual(call('mm', '', x, eye).toArray(), [1, 2, 3, 4])
  assert.deepEqual(call('aten::sub', 'Tensor', x, eye, { alpha: 2 }).toArray(), [-1, 2, 3, 2])
  assert.deepEqual(overloads('add').sort(), ['Scalar', 'Scalar_out', 'Tensor', 'out'].concat(overloads('add').filter((o) => !['Scalar', 'Scalar_out', 'Tensor', 'out'].includes(o))).sort())
  assert.match(operator('add', 'Tensor').schema, /^aten::add\.Tensor\(Tensor self/)
})

test('scaled dot product attention with grouped heads equals the formula', () => {
  const [q, k, v] = [ops.randn([1, 4, 3, 8]), ops.randn([1, 2, 3, 8]), ops.randn([1, 2, 3, 8])]
  const fused = ops.scaled_dot_product_attention(q, k, v, undefined, 0, true, { enableGqa: true })
  const wide = (t: Tensor) => ops.repeat_interleave(t, 2, 1)
  const scores = ops.mul(ops.matmul(q, ops.transpose(wide(k), -2, -1)), 1 / Math.sqrt(8))
  const masked = ops.masked_fill(scores, ops.triu(ops.ones([3, 3], { dtype: 'bool' }), 1), -Infinity)
  assert.equal(ops.allclose(fused, ops.matmul(ops.softmax(masked, -1), wide(v)), 1e-5, 1e-6), true)
})
