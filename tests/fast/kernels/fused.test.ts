import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { call, noGrad, ops, scope, tensor, type DType, type Tensor } from 'fettle-native'
import { fusedBlocks } from 'fettle/dist/models/blocks/fused'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import type { Blocks, HeadShape, RopeTables } from 'fettle/dist/models/blocks/types'
import { as, context, difference, levels, linearGradients, linearWeights, matrix, place, spread, weight, type LinearCase } from './support'

/** Runs one block in some form and type; returns everything that it computes. */
type Run = (blocks: Blocks, dtype: DType) => Tensor[]

/**
 * fp32: fused equals plain within 1e-5 of the result's size. bf16: fused is as near to the fp32 result as plain is.
 * Once with frozen weights packed
 * at each product and once with those that stay packed.
 */
function agrees(name: string, run: Run): void {
  for (const level of levels())
    for (const pack of [false, true])
      test(`${name} (${level}${pack ? ', packed' : ''})`, () => {
        call('fettle::use_kernels', '', level, 'auto')
        noGrad(() => scope(() => {
          const plain = plainBlocks(), fused = fusedBlocks({ pack })
          const reference = run(plain, 'float32'), half = run(plain, 'bfloat16')
          run(fused, 'float32').forEach((t, i) => assert.ok(difference(t, reference[i]) <= 1e-5, `fp32 result ${i}: ${difference(t, reference[i])}`))
          run(fused, 'bfloat16').forEach((t, i) => {
            const own = spread(t, reference[i]), plainly = spread(half[i], reference[i])
            assert.ok(own <= Math.max(1.1 * plainly, 2 ** -9), `bf16 result ${i}: ${own}, plain ${plainly}`)
          })
          fused.free()
        }))
      })
}

after(() => call('fettle::use_kernels', '', 'auto', 'auto'))

function rope(tokens: number, half: number): RopeTables {
  const angles = matrix([tokens, half], 5, 3)
  return { cos: ops.cos(angles), sin: ops.sin(angles), queryScale: null }
}
const noRope = (): RopeTables => rope(1, 1)

function linearRun(c: LinearCase, tokens: number, withResidual: boolean): Run {
  return (blocks, dtype) => {
    const weights = linearWeights(c, dtype), at = context(dtype, [0, tokens], noRope())
    const x = as(matrix([tokens, c.inFeatures], 1), dtype), residual = withResidual ? as(matrix([tokens, weights.outFeatures], 2), dtype) : null
    const { out, saved } = blocks.linear.forward(x, residual, weights, place('qkv'), at)
    const copy = ops.clone(out)
    const gradX = blocks.linear.backward(as(matrix([tokens, weights.outFeatures], 3), dtype), saved, weights, place('qkv'))
    return [copy, gradX, ...linearGradients(weights)]
  }
}

describe('linear: fused against plain', () => {
  const joined = { inFeatures: 48, parts: [48, 16, 16], rank: 8, bias: false, trainWeight: false }
  agrees('frozen, joined adapters', linearRun({ ...joined, adapted: [0, 1, 2] }, 37, false))
  agrees('one adapted part, bias, residual', linearRun({ ...joined, adapted: [1], bias: true }, 130, true))
  agrees('trained weight and bias', linearRun({ ...joined, adapted: [], bias: true, trainWeight: true }, 50, true))
  agrees('sizes that are multiples of nothing', linearRun({ inFeatures: 45, parts: [37, 11, 5], adapted: [0, 2], rank: 3, bias: true, trainWeight: true }, 29, true))
  agrees('one token', linearRun({ ...joined, adapted: [0, 2] }, 1, true))
  agrees('a few tokens', linearRun({ ...joined, inFeatures: 45, adapted: [0, 2], bias: true }, 8, true))
  agrees('ranks beyond one panel', linearRun({ ...joined, inFeatures: 96, parts: [200, 72, 72], rank: 40, adapted: [0, 1, 2] }, 41, true))
  agrees('an odd rank of a part in the middle', linearRun({ ...joined, parts: [70, 90, 33], rank: 67, adapted: [1] }, 70, false))
  agrees('deep and wide', linearRun({ inFeatures: 1100, parts: [700, 530], adapted: [0, 1], rank: 4, bias: false, trainWeight: false }, 110, false))
})

describe('logits: fused against plain', () => {
  for (const [rows, vocabulary, hidden] of [[1, 300, 45], [8, 129, 64], [9, 64, 16]])
    agrees(`${rows} rows, ${vocabulary} words`, (blocks, dtype) => {
      const weights = { weight: weight(matrix([vocabulary, hidden], 1, 0.5), dtype, false) }
      return [blocks.head.logits(as(matrix([rows, hidden], 2), dtype), weights)]
    })
})

describe('norm: fused against plain', () => {
  for (const [tokens, hidden] of [[37, 64], [5, 45], [1, 576], [700, 40]])
    for (const trained of [false, true])
      agrees(`${tokens} tokens of ${hidden}, weight ${trained ? 'trained' : 'frozen'}`, (blocks, dtype) => {
        const weights = { kind: 'rms' as const, eps: 1e-5, offset: 0 as const, weight: weight(matrix([hidden], 2), dtype, trained), bias: null }
        const at = context(dtype, [0, tokens], noRope())
        const { out, saved } = blocks.norm.forward(as(matrix([tokens, hidden], 1, 3), dtype), weights, place('inputNorm'), at)
        const copy = ops.clone(out), residual = as(matrix([tokens, hidden], 4), dtype)
        const gradX = blocks.norm.backward(as(matrix([tokens, hidden], 3), dtype), residual, saved, weights, place('inputNorm'))
        return [copy, gradX, ...(weights.weight.grad ? [weights.weight.grad] : [])]
      })
})

describe('rotary: fused against plain', () => {
  for (const layout of ['half', 'interleaved'] as const)
    for (const [headDim, dim] of [[16, 16], [20, 12], [64, 64]])
      agrees(`${layout}, ${dim} of ${headDim}`, (blocks, dtype) => {
        const shape: HeadShape = { heads: 3, kvHeads: 1, headDim, scale: 1, layout: 'separate', windowed: false, rotary: { dim, layout, axes: 1 } }, tokens = 11
        const at = context(dtype, [0, tokens], rope(tokens, dim / 2))
        const turned = blocks.rotary.forward(as(matrix([tokens, 5 * headDim], 1), dtype), shape, place('rotary'), at)
        const back = blocks.rotary.backward(as(matrix([tokens, 5 * headDim], 2), dtype), shape, place('rotary'), at)
        return [turned, back]
      })
})

describe('SwiGLU: fused against plain', () => {
  for (const [tokens, width] of [[33, 64], [3, 37], [1, 5]])
    agrees(`${tokens} tokens of ${width}`, (blocks, dtype) => {
      const shape = { kind: 'gated' as const, activation: 'silu' as const, width }, at = context(dtype, [0, tokens], noRope())
      const { out, saved } = blocks.activation.forward(as(matrix([tokens, 2 * width], 1, 4), dtype), shape, place('activation'), at)
      const copy = ops.clone(out)
      return [copy, blocks.activation.backward(as(matrix([tokens, width], 2), dtype), saved, shape, place('activation'))]
    })
})

function attentionRun(offsets: number[], heads: number, kvHeads: number, headDim: number): Run {
  return (blocks, dtype) => {
    const tokens = offsets[offsets.length - 1], width = (heads + 2 * kvHeads) * headDim
    const shape: HeadShape = { heads, kvHeads, headDim, scale: headDim ** -0.5, layout: 'separate', windowed: false, rotary: null }
    const at = context(dtype, offsets, noRope())
    const { out, saved } = blocks.attention.forward(as(matrix([tokens, width], 1, 2), dtype), shape, place('attention'), at)
    const copy = ops.clone(out)
    return [copy, blocks.attention.backward(as(matrix([tokens, heads * headDim], 2), dtype), saved, shape, place('attention'), at)]
  }
}

describe('attention: fused against plain', () => {
  agrees('grouped heads, uneven rows', attentionRun([0, 7, 8, 50, 113], 6, 2, 16))
  agrees('one head each, odd head size', attentionRun([0, 1, 2, 35], 3, 3, 20))
  agrees('nine heads over three, a long row', attentionRun([0, 3, 400, 430], 9, 3, 64))
  agrees('one token', attentionRun([0, 1], 4, 1, 8))
})

describe('head and loss: fused against plain', () => {
  for (const [rows, vocabulary, hidden, trained] of [[9, 300, 32, false], [33, 2500, 45, true], [1, 64, 16, true]] as const)
    agrees(`${rows} rows, ${vocabulary} words, weight ${trained ? 'trained' : 'frozen'}`, (blocks, dtype) => {
      const weights = { weight: weight(matrix([vocabulary, hidden], 1, 0.5), dtype, trained) }
      const labels = tensor(BigInt64Array.from({ length: rows }, (_, i) => BigInt((i * 37) % vocabulary)))
      const { lossSum, gradHidden } = blocks.head.loss(as(matrix([rows, hidden], 2), dtype), labels, weights, { scale: 1 / rows, gradient: true })
      return [ops.view(lossSum, [1]), gradHidden as Tensor, ...(weights.weight.grad ? [weights.weight.grad] : [])]
    })
})
