import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { call, noGrad, ops, scope, tensor, type DType, type Tensor } from 'fettle-native'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import type { ActivationShape, Blocks, HeadShape, NormWeights, RopeTables } from 'fettle/dist/models/blocks/types'
import { simulateKernels } from '../../support/simulate'
import { as, context, difference, linearGradients, linearWeights, matrix, place, spread, weight, type LinearCase } from '../kernels/support'
import { simulatedBlocks } from './support'

before(simulateKernels)

type Run = (blocks: Blocks, dtype: DType) => Tensor[]

/** fp32: equal to the plain form within 1e-5 of the result's size. Halves: as near to the fp32 result as the plain form is. */
function agrees(name: string, run: Run): void {
  test(name, () => noGrad(() => scope(() => {
    const plain = plainBlocks(), simulated = simulatedBlocks(), reference = run(plain, 'float32')
    run(simulated, 'float32').forEach((t, i) => assert.ok(difference(t, reference[i]) <= 1e-5, `fp32 result ${i}: ${difference(t, reference[i])}`))
    for (const dtype of ['bfloat16', 'float16'] as const) {
      const half = run(plain, dtype), unit = dtype === 'bfloat16' ? 2 ** -9 : 2 ** -12
      run(simulated, dtype).forEach((t, i) => {
        const own = spread(t, reference[i]), plainly = spread(half[i], reference[i])
        assert.ok(own <= Math.max(1.1 * plainly, unit), `${dtype} result ${i}: ${own}, plain ${plainly}`)
      })
    }
    simulated.free()
  })))
}

const noRope = { cos: ops.ones([1, 1]), sin: ops.ones([1, 1]), queryScale: null }
const grads = ({ weight: w, bias }: NormWeights): Tensor[] => [w.grad, bias?.grad].flatMap((x) => x ?? [])

function norm(kind: 'rms' | 'layer', width: number, trained: boolean, offset: 0 | 1 = 0): (dtype: DType) => NormWeights {
  return (dtype) => ({ kind, eps: 1e-5, offset, weight: weight(matrix([width], 2), dtype, trained), bias: kind === 'layer' ? weight(matrix([width], 5), dtype, trained) : null })
}

describe('norms', () => {
  for (const kind of ['rms', 'layer'] as const)
    for (const [tokens, width] of [[7, 64], [5, 45], [1, 576], [40, 40]])
      for (const trained of [false, true])
        for (const offset of kind === 'rms' && trained ? [0, 1] as const : [0] as const)
          agrees(`${kind}, ${tokens} tokens of ${width}, weight ${trained ? 'trained' : 'frozen'}${offset ? ', offset 1' : ''}`, (blocks, dtype) => {
            const weights = norm(kind, width, trained, offset)(dtype), at = context(dtype, [0, tokens], noRope)
            const { out, saved } = blocks.norm.forward(as(matrix([tokens, width], 1, 3), dtype), weights, place('inputNorm'), at)
            const residual = trained ? null : as(matrix([tokens, width], 4), dtype)
            return [ops.clone(out), blocks.norm.backward(as(matrix([tokens, width], 3), dtype), residual, saved, weights, place('inputNorm')), ...grads(weights)]
          })
})

const shapeOf = (layout: HeadShape['layout'], heads: number, kvHeads: number, headDim: number, rotary: HeadShape['rotary'] = null): HeadShape => ({ heads, kvHeads, headDim, scale: headDim ** -0.5, layout, windowed: false, rotary })

describe('norms of heads', () => {
  for (const layout of ['separate', 'grouped'] as const)
    for (const headDim of [16, 20])
      agrees(`${layout}, heads of ${headDim}`, (blocks, dtype) => {
        const shape = shapeOf(layout, 6, 2, headDim), tokens = 5, width = 10 * headDim, weights = { query: norm('rms', headDim, true)(dtype), key: norm('rms', headDim, true)(dtype) }
        const { out, saved } = blocks.headNorm.forward(as(matrix([tokens, width], 1, 3), dtype), weights, shape, place('queryKeyNorm'), context(dtype, [0, tokens], noRope))
        return [ops.clone(out), blocks.headNorm.backward(as(matrix([tokens, width], 2), dtype), saved, weights, place('queryKeyNorm')), ...grads(weights.query), ...grads(weights.key)]
      })
})

describe('rotary positions', () => {
  for (const pairs of ['half', 'interleaved'] as const)
    for (const layout of ['separate', 'grouped'] as const)
      for (const [headDim, dim, axes] of [[16, 16, 1], [20, 12, 1], [16, 16, 2], [24, 16, 2]] as const)
        for (const scaled of [false, true])
          agrees(`${pairs}, ${layout}, ${dim} of ${headDim}, ${axes} axes${scaled ? ', scaled queries' : ''}`, (blocks, dtype) => {
            const shape = shapeOf(layout, 6, 2, headDim, { dim, layout: pairs, axes }), tokens = 5, angles = matrix([tokens, dim / 2], 5, 3)
            const rope: RopeTables = { cos: ops.cos(angles), sin: ops.sin(angles), queryScale: scaled ? ops.add(matrix([tokens], 9), 2) : null }, at = context(dtype, [0, tokens], rope)
            return [1, 2].map((seed) => blocks.rotary[seed === 1 ? 'forward' : 'backward'](as(matrix([tokens, 10 * headDim], seed), dtype), shape, place('rotary'), at))
          })
})

describe('activations', () => {
  for (const activation of ['silu', 'gelu', 'gelu_tanh', 'relu'] as const)
    for (const kind of ['gated', 'plain'] as const)
      for (const width of [64, 37])
        agrees(`${activation}, ${kind}, width ${width}`, (blocks, dtype) => {
          const shape: ActivationShape = { kind, activation, width }, tokens = 9, wide = kind === 'gated' ? 2 * width : width
          const { out, saved } = blocks.activation.forward(as(matrix([tokens, wide], 1, 4), dtype), shape, place('activation'), context(dtype, [0, tokens], noRope))
          return [ops.clone(out), blocks.activation.backward(as(matrix([tokens, width], 2), dtype), saved, shape, place('activation'))]
        })
})

describe('head and loss', () => {
  for (const [rows, vocabulary, hidden, trained] of [[9, 304, 32, false], [33, 2500, 45, true], [1, 63, 16, true]] as const)
    agrees(`${rows} rows, ${vocabulary} words, weight ${trained ? 'trained' : 'frozen'}`, (blocks, dtype) => {
      const weights = { weight: weight(matrix([vocabulary, hidden], 1, 0.5), dtype, trained) }
      const labels = tensor(BigInt64Array.from({ length: rows }, (_, i) => BigInt((i * 37) % vocabulary)))
      const { lossSum, gradHidden } = blocks.head.loss(as(matrix([rows, hidden], 2), dtype), labels, weights, { scale: 1 / rows, gradient: true })
      return [ops.view(lossSum, [1]), gradHidden as Tensor, ...(weights.weight.grad ? [weights.weight.grad] : [])]
    })

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

function linearRun(c: LinearCase, tokens: number, withResidual: boolean): Run {
  return (blocks, dtype) => {
    const weights = linearWeights(c, dtype), at = context(dtype, [0, tokens], noRope)
    const x = as(matrix([tokens, c.inFeatures], 1), dtype), residual = withResidual ? as(matrix([tokens, weights.outFeatures], 2), dtype) : null
    const { out, saved } = blocks.linear.forward(x, residual, weights, place('qkv'), at)
    return [ops.clone(out), blocks.linear.backward(as(matrix([tokens, weights.outFeatures], 3), dtype), saved, weights, place('qkv')), ...linearGradients(weights)]
  }
}

describe('linear', () => {
  const joined = { inFeatures: 48, parts: [48, 16, 16], rank: 8, bias: false, trainWeight: false }
  agrees('frozen, joined adapters', linearRun({ ...joined, adapted: [0, 1, 2] }, 37, false))
  agrees('one adapted part, bias, residual', linearRun({ ...joined, adapted: [1], bias: true }, 130, true))
  agrees('trained weight and bias', linearRun({ ...joined, adapted: [], bias: true, trainWeight: true }, 50, true))
  agrees('sizes that are multiples of nothing', linearRun({ inFeatures: 45, parts: [37, 11, 5], adapted: [0, 2], rank: 3, bias: true, trainWeight: true }, 29, false))
})

test('a tensor of the wrong size, type or device is refused by name', () => {
  const x = ops.zeros([2, 8])
  assert.throws(() => call('fettle_cuda::activation_forward', '', x, 'silu', true, ops.zeros([2, 8])), /expected 32 contiguous elements of Float on cpu for 'x'/)
  assert.throws(() => call('fettle_cuda::activation_forward', '', x, 'swish', false, ops.zeros([2, 8])), /expected silu, gelu, gelu_tanh or relu, got 'swish'/)
  assert.throws(() => call('fettle_cuda::activation_forward', '', ops.zeros([2, 8], { dtype: 'float64' }), 'silu', false, ops.zeros([2, 8], { dtype: 'float64' })), /expected float32, bfloat16 or float16/)
  assert.throws(() => call('fettle_cuda::rotary_', '', x, x, x, null, 1, 1, 1, 8, 8, 1, false, false), /expected rows of 1 groups/)
})
