import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { call, noGrad, ops, scope, tensor } from 'fettle-native'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { simulateKernels } from '../../support/simulate'
import { difference, matrix, spread, weight } from '../kernels/support'
import { cases } from './cases'
import { simulatedBlocks } from './support'

before(simulateKernels)

const here = <T>(data: T): T => data

for (const { name, run } of cases)
  // fp32: equal to the plain form within 1e-5 of the result's size. Halves: as near to the fp32 result as the plain form is.
  test(name, () => noGrad(() => scope(() => {
    const plain = plainBlocks(), simulated = simulatedBlocks(), reference = run(plain, 'float32', here)
    run(simulated, 'float32', here).forEach((t, i) => assert.ok(difference(t, reference[i]) <= 1e-5, `fp32 result ${i}: ${difference(t, reference[i])}`))
    for (const dtype of ['bfloat16', 'float16'] as const) {
      const half = run(plain, dtype, here), unit = dtype === 'bfloat16' ? 2 ** -9 : 2 ** -12
      run(simulated, dtype, here).forEach((t, i) => {
        const own = spread(t, reference[i]), plainly = spread(half[i], reference[i])
        assert.ok(own <= Math.max(1.1 * plainly, unit), `${dtype} result ${i}: ${own}, plain ${plainly}`)
      })
    }
    simulated.free()
  })))

describe('head and loss', () => {
  test('hits are counted, the first of equal logits being the answer', () => noGrad(() => scope(() => {
    const weights = { weight: weight(ops.eye(40), 'float32', false) }, hidden = ops.zeros([3, 40])
    ops.fill_(ops.narrow(ops.select(hidden, 0, 0), 0, 7, 2), 5)
    ops.fill_(ops.narrow(ops.select(hidden, 0, 1), 0, 39, 1), 5)
    const loss = (labels: number[]) => simulatedBlocks().head.loss(hidden, tensor(BigInt64Array.from(labels.map(BigInt))), weights, { scale: 1, gradient: false }).correct.item()
    assert.equal(loss([7, 39, 0]), 3)
    assert.equal(loss([8, 38, 1]), 0)
  })))

  test('a label of −1 counts for nothing', () => noGrad(() => scope(() => {
    const weights = { weight: weight(matrix([50, 16], 1), 'float32', true) }, hidden = matrix([4, 16], 2)
    const labels = (values: number[]) => tensor(BigInt64Array.from(values.map(BigInt)))
    const padded = simulatedBlocks().head.loss(hidden, labels([3, 9, -1, -1]), weights, { scale: 0.5, gradient: true })
    const own = { weight: weight(matrix([50, 16], 1), 'float32', true) }
    const alone = simulatedBlocks().head.loss(ops.narrow(hidden, 0, 0, 2), labels([3, 9]), own, { scale: 0.5, gradient: true })
    assert.ok(Math.abs(padded.lossSum.item() - alone.lossSum.item()) < 1e-5)
    assert.ok(difference(weights.weight.grad!, own.weight.grad!) < 1e-6)
    assert.equal(ops.sum(ops.abs(ops.narrow(padded.gradHidden!, 0, 2, 2))).item(), 0)
  })))
})

test('a tensor of the wrong size, type or device is refused by name', () => {
  const x = ops.zeros([2, 8])
  assert.throws(() => call('fettle_cuda::activation_forward', '', x, 'silu', true, ops.zeros([2, 8])), /expected 32 contiguous elements of Float on cpu for 'x'/)
  assert.throws(() => call('fettle_cuda::activation_forward', '', x, 'swish', false, ops.zeros([2, 8])), /expected silu, gelu, gelu_tanh or relu, got 'swish'/)
  assert.throws(() => call('fettle_cuda::activation_forward', '', ops.zeros([2, 8], { dtype: 'float64' }), 'silu', false, ops.zeros([2, 8], { dtype: 'float64' })), /expected float32, bfloat16 or float16/)
  assert.throws(() => call('fettle_cuda::rotary_', '', x, x, x, null, 1, 1, 1, 8, 8, 1, false, false), /expected rows of 1 groups/)
})
