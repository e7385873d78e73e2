import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { call, manualSeed, noGrad, ops, scope, tensor, type DType, type Tensor } from 'fettle-native'
import { fusedBlocks } from 'fettle/dist/models/blocks/fused'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import type { Architecture } from 'fettle/dist/models/architecture'
import type { Batch } from 'fettle/dist/models/batch'
import type { BlockContext, Blocks, HeadShape, NormWeights, RopeTables } from 'fettle/dist/models/blocks/types'
import { scoreBiases, scoreRule } from 'fettle/dist/models/scores'
import { as, context, difference, levels, linearGradients, linearWeights, matrix, place, spread, weight, type LinearCase } from './support'

/** Runs one block in some form and type; returns everything that it computes. */
type Run = (blocks: Blocks, dtype: DType) => Tensor[]

/**
 * fp32: fused equals plain within 1e-5 of the result's size. bf16: fused is as near to the fp32 result as plain is.
 * `emulated` takes the
 * way of CPUs that multiply bf16 themselves, frozen weights packed.
 */
function agrees(name: string, run: Run): void {
  for (const level of levels())
    for (const products of ['own', 'emulated'])
      test(`${name} (${level}, ${products})`, () => {
        call('fettle::use_kernels', '', level, products)
        noGrad(() => scope(() => {
          // brgemm takes probabilities in bf16, as ATen's attention does on CPUs with brgemm, but not on others.
          const rounding = products === 'emulated' ? 2 ** -8 : 2 ** -9
          const plain = plainBlocks(), fused = fusedBlocks({ pack: products === 'emulated' })
          const reference = run(plain, 'float32'), half = run(plain, 'bfloat16')
          run(fused, 'float32').forEach((t, i) => assert.ok(difference(t, reference[i]) <= 1e-5, `fp32 result ${i}: ${difference(t, reference[i])}`))
          run(fused, 'bfloat16').forEach((t, i) => {
            const own = spread(t, reference[i]), plainly = spread(half[i], reference[i])
            assert.ok(own <= Math.max(1.1 * plainly, rounding), `bf16 result ${i}: ${own}, plain ${plainly}`)
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
    const weights = linearWeights(c, dtype), at = { ...context(dtype, [0, tokens], noRope()), dropout: (c.dropout ?? 0) > 0 }
    manualSeed(3) // both forms drop the same
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
  agrees('joined adapters behind dropout', linearRun({ ...joined, adapted: [0, 2], dropout: 0.3, bias: true }, 37, true))
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
  const rms = { kind: 'rms', offset: 0, biased: false } as const, kinds = [rms, { ...rms, offset: 1 }, { ...rms, kind: 'layer' }, { ...rms, kind: 'layer', biased: true }] as const
  for (const { kind, offset, biased } of kinds)
    for (const [tokens, hidden] of [[37, 64], [5, 45], [1, 576], [700, 40]])
      for (const trained of [false, true])
        agrees(`${kind}, ${tokens} tokens of ${hidden}${offset ? ', offset' : ''}${biased ? ', bias' : ''}, weight ${trained ? 'trained' : 'frozen'}`, (blocks, dtype) => {
          const weights = { kind, eps: 1e-5, offset, weight: weight(matrix([hidden], 2), dtype, trained), bias: biased ? weight(matrix([hidden], 6), dtype, trained) : null } as NormWeights
          const at = context(dtype, [0, tokens], noRope())
          const { out, saved } = blocks.norm.forward(as(matrix([tokens, hidden], 1, 3), dtype), weights, place('inputNorm'), at)
          const copy = ops.clone(out), residual = as(matrix([tokens, hidden], 4), dtype)
          const gradX = blocks.norm.backward(as(matrix([tokens, hidden], 3), dtype), residual, saved, weights, place('inputNorm'))
          return [copy, gradX, ...[weights.weight, weights.bias].flatMap((w) => w?.grad ?? [])]
        })
})

describe('rotary: fused against plain', () => {
  for (const heads of ['separate', 'grouped'] as const)
    for (const layout of ['half', 'interleaved'] as const)
      for (const [headDim, dim, axes] of [[16, 16, 1], [20, 12, 1], [64, 64, 1], [64, 64, 2], [24, 16, 2]] as const)
        agrees(`${layout}, ${dim} of ${headDim} on ${axes} axes, heads ${heads}`, (blocks, dtype) => {
          const shape: HeadShape = { heads: 4, kvHeads: 2, headDim, scale: 1, layout: heads, windowed: false, rotary: { dim, layout, axes } }, tokens = 11
          const at = context(dtype, [0, tokens], rope(tokens, dim / 2))
          const turned = blocks.rotary.forward(as(matrix([tokens, 8 * headDim], 1), dtype), shape, place('rotary'), at)
          const back = blocks.rotary.backward(as(matrix([tokens, 8 * headDim], 2), dtype), shape, place('rotary'), at)
          return [turned, back]
        })
})

describe('activations: fused against plain', () => {
  for (const activation of ['silu', 'gelu', 'gelu_tanh', 'relu'] as const)
    for (const kind of ['gated', 'plain'] as const)
      for (const [tokens, width] of [[33, 64], [3, 37], [1, 5]])
        agrees(`${activation}, ${kind}, ${tokens} tokens of ${width}`, (blocks, dtype) => {
          const shape = { kind, activation, width }, at = context(dtype, [0, tokens], noRope())
          const { out, saved } = blocks.activation.forward(as(matrix([tokens, (kind === 'gated' ? 2 : 1) * width], 1, 4), dtype), shape, place('activation'), at)
          const copy = ops.clone(out)
          return [copy, blocks.activation.backward(as(matrix([tokens, width], 2), dtype), saved, shape, place('activation'))]
        })
})

/** How a case differs from plain causal attention. */
interface Rules { readonly layout?: HeadShape['layout']; readonly window?: number; readonly alibi?: boolean; readonly prompts?: readonly number[]; readonly places?: number }

function attentionRun(offsets: number[], heads: number, kvHeads: number, headDim: number, rules: Rules = {}): Run {
  return (blocks, dtype) => {
    const tokens = offsets[offsets.length - 1], width = (heads + 2 * kvHeads) * headDim
    const shape: HeadShape = { heads, kvHeads, headDim, scale: headDim ** -0.5, layout: rules.layout ?? 'separate', windowed: rules.window !== undefined, rotary: null }
    const { scores, prefix } = ruled(blocks, dtype, offsets, heads, kvHeads, headDim, rules), at: BlockContext = { ...context(dtype, offsets, noRope()), scores, prefix }
    const { out, saved } = blocks.attention.forward(as(matrix([tokens, width], 1, 2), dtype), shape, place('attention'), at)
    const copy = ops.clone(out)
    const gradX = blocks.attention.backward(as(matrix([tokens, heads * headDim], 2), dtype), saved, shape, place('attention'), at)
    return [copy, gradX, ...(prefix === null ? [] : [prefix.past.grad as Tensor])]
  }
}

/** What the decoder gives blocks of a model with such rules: numbers to those that know them, biases to the others. */
function ruled(blocks: Blocks, dtype: DType, offsets: readonly number[], heads: number, kvHeads: number, headDim: number, { window, alibi, prompts, places }: Rules): Pick<BlockContext, 'scores' | 'prefix'> {
  const architecture = { heads, positions: { kind: alibi ? 'alibi' : 'learned' }, window: window === undefined ? null : { size: window, layers: [true, false] } } as unknown as Architecture
  const batch = { ids: tensor(BigInt64Array.of(0n)), attention: { kind: 'packed', offsets }, prefixes: prompts } as unknown as Batch, own = { heads, headStart: 0 }
  const rule = blocks.attention.rules ? scoreRule(architecture, own, batch) : null
  const past = places === undefined ? null : weight(matrix([places, 2, kvHeads, headDim], 9, 2), dtype, true)
  return { scores: rule === null ? scoreBiases(architecture, own, batch, dtype, places ?? 0) : { full: null, windowed: null, rule }, prefix: past && { tokens: places!, past } }
}

describe('attention: fused against plain', () => {
  agrees('grouped heads, uneven rows', attentionRun([0, 7, 8, 50, 113], 6, 2, 16))
  agrees('one head each, odd head size', attentionRun([0, 1, 2, 35], 3, 3, 20))
  agrees('nine heads over three, a long row', attentionRun([0, 3, 400, 430], 9, 3, 64))
  agrees('one token', attentionRun([0, 1], 4, 1, 8))
  agrees('heads in groups', attentionRun([0, 9, 60], 6, 3, 16, { layout: 'grouped' }))
  agrees('a window', attentionRun([0, 5, 130], 4, 2, 16, { window: 40 }))
  agrees('a window of one', attentionRun([0, 33], 2, 2, 16, { window: 1 }))
  agrees('slopes', attentionRun([0, 9, 77, 78], 6, 6, 20, { layout: 'grouped', alibi: true }))
  agrees('prompts that are seen whole', attentionRun([0, 40, 41, 150], 4, 2, 16, { prompts: [31, 0, 64] }))
  agrees('behind a prefix', attentionRun([0, 7, 60], 6, 2, 16, { places: 5 }))
  agrees('behind a prefix, with slopes', attentionRun([0, 300, 333], 3, 1, 64, { places: 33, alibi: true }))
  agrees('behind a prefix, within a window, heads in groups', attentionRun([0, 90], 4, 2, 24, { places: 4, window: 30, layout: 'grouped' }))
  agrees('prompts behind a prefix', attentionRun([0, 20, 90], 4, 4, 16, { places: 3, prompts: [11, 70] }))
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
