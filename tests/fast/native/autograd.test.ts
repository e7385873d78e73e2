import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backward, enableGrad, fusedAdamW, gradients, noGrad, ops, tensor, Tensor } from 'fettle-native'

function leaf(values: number[], shape?: number[]): Tensor {
  const t = tensor(values, shape)
  t.requiresGrad = true
  return t
}

const gradOf = (t: Tensor) => t.grad?.toArray()

test('backward of a scalar fills .grad, twice adds', () => {
  const x = leaf([1, 2, 3])
  assert.equal(gradOf(x), undefined)
  backward(ops.sum(ops.mul(x, x)))
  assert.deepEqual(gradOf(x), [2, 4, 6])
  backward(ops.sum(ops.mul(x, x)))
  assert.deepEqual(gradOf(x), [4, 8, 12])
  x.grad = undefined
  assert.equal(gradOf(x), undefined)
})

test('backward takes incoming gradients for several tensors', () => {
  const x = leaf([1, 2])
  backward([ops.mul(x, 2), ops.mul(x, 3)], [tensor([1, 10]), tensor([100, 0])])
  assert.deepEqual(gradOf(x), [302, 20])
})

test('the graph can be kept', () => {
  const x = leaf([3])
  const y = ops.square(x)
  backward(y, undefined, { retainGraph: true })
  backward(y)
  assert.deepEqual(gradOf(x), [12])
})

test('gradients() leaves .grad alone and says what is unused', () => {
  const x = leaf([2]), z = leaf([5])
  const [dx, dz] = gradients([ops.square(x)], [x, z], [tensor([1])], { allowUnused: true })
  assert.deepEqual([dx?.toArray(), dz, x.grad], [[4], undefined, undefined])
})

test('noGrad and enableGrad nest and survive errors', () => {
  const x = leaf([1])
  assert.equal(noGrad(() => ops.neg(x).requiresGrad), false)
  assert.equal(noGrad(() => enableGrad(() => ops.neg(x).requiresGrad)), true)
  assert.throws(() => noGrad(() => { throw new TypeError('stop') }), TypeError)
  assert.equal(ops.neg(x).requiresGrad, true)
})

test('fused AdamW equals the formula over three steps', () => {
  const [lr, beta1, beta2, weightDecay, eps] = [0.1, 0.9, 0.999, 0.01, 1e-8]
  const p = tensor([1, -2]), m = ops.zeros([2]), v = ops.zeros([2]), step = ops.zeros([])
  let [theta, mm, vv] = [[1, -2], [0, 0], [0, 0]]
  for (let t = 1; t <= 3; t++) {
    const g = [0.5 * t, -1]
    fusedAdamW({ params: [p], grads: [tensor(g)], expAvgs: [m], expAvgSqs: [v], steps: [step], lr, beta1, beta2, weightDecay, eps })
    mm = mm.map((a, i) => beta1 * a + (1 - beta1) * g[i])
    vv = vv.map((a, i) => beta2 * a + (1 - beta2) * g[i] ** 2)
    theta = theta.map((a, i) => a * (1 - lr * weightDecay) - (lr * (mm[i] / (1 - beta1 ** t))) / (Math.sqrt(vv[i] / (1 - beta2 ** t)) + eps))
  }
  assert.equal(step.item(), 3)
  p.toArray().forEach((value, i) => assert.ok(Math.abs(value - theta[i]) < 1e-6))
  assert.throws(() => fusedAdamW({ params: [p], grads: [], expAvgs: [m], expAvgSqs: [v], steps: [step], lr, beta1, beta2, weightDecay, eps }), { code: 'native.argument' })
})
