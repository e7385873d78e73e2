import { ops, tensor, type DType, type Tensor } from 'fettle-native'
import type { ActivationShape, Blocks, HeadShape, NormWeights, RopeTables } from 'fettle/dist/models/blocks/types'
import { as, context, linearGradients, linearWeights, matrix, place, weight, type LinearCase } from '../kernels/support'

/** Runs one block in some form, type and place; returns everything that it computes. `on` puts all tensors of plain data where they belong. */
export type Run = (blocks: Blocks, dtype: DType, on: <T>(data: T) => T) => Tensor[]

/** What the blocks for GPUs are compared with the plain form on: simulated on the CPU, and on a GPU. */
export const cases: { readonly name: string; readonly run: Run }[] = []

function group(of: string, fill: (agrees: (name: string, run: Run) => void) => void): void { fill((name, run) => cases.push({ name: `${of}: ${name}`, run })) }

const noRope = { cos: ops.ones([1, 1]), sin: ops.ones([1, 1]), queryScale: null }
const grads = ({ weight: w, bias }: NormWeights): Tensor[] => [w.grad, bias?.grad].flatMap((x) => x ?? [])

function norm(kind: 'rms' | 'layer', width: number, trained: boolean, offset: 0 | 1 = 0): (dtype: DType) => NormWeights {
  return (dtype) => ({ kind, eps: 1e-5, offset, weight: weight(matrix([width], 2), dtype, trained), bias: kind === 'layer' ? weight(matrix([width], 5), dtype, trained) : null })
}

group('norms', (agrees) => {
  for (const kind of ['rms', 'layer'] as const)
    for (const [tokens, width] of [[7, 64], [5, 45], [1, 576], [40, 40]])
      for (const trained of [false, true])
        for (const offset of kind === 'rms' && trained ? [0, 1] as const : [0] as const)
          agrees(`${kind}, ${tokens} tokens of ${width}, weight ${trained ? 'trained' : 'frozen'}${offset ? ', offset 1' : ''}`, (blocks, dtype, on) => {
            const weights = on(norm(kind, width, trained, offset)(dtype)), at = context(dtype, [0, tokens], noRope)
            const { out, saved } = blocks.norm.forward(on(as(matrix([tokens, width], 1, 3), dtype)), weights, place('inputNorm'), at)
            const residual = trained ? null : on(as(matrix([tokens, width], 4), dtype))
            return [ops.clone(out), blocks.norm.backward(on(as(matrix([tokens, width], 3), dtype)), residual, saved, weights, place('inputNorm')), ...grads(weights)]
          })
})

const shapeOf = (layout: HeadShape['layout'], heads: number, kvHeads: number, headDim: number, rotary: HeadShape['rotary'] = null): HeadShape => ({ heads, kvHeads, headDim, scale: headDim ** -0.5, layout, windowed: false, rotary })

group('norms of heads', (agrees) => {
  for (const layout of ['separate', 'grouped'] as const)
    for (const headDim of [16, 20])
      agrees(`${layout}, heads of ${headDim}`, (blocks, dtype, on) => {
        const shape = shapeOf(layout, 6, 2, headDim), tokens = 5, width = 10 * headDim, weights = on({ query: norm('rms', headDim, true)(dtype), key: norm('rms', headDim, true)(dtype) })
        const { out, saved } = blocks.headNorm.forward(on(as(matrix([tokens, width], 1, 3), dtype)), weights, shape, place('queryKeyNorm'), context(dtype, [0, tokens], noRope))
        return [ops.clone(out), blocks.headNorm.backward(on(as(matrix([tokens, width], 2), dtype)), saved, weights, place('queryKeyNorm')), ...grads(weights.query), ...grads(weights.key)]
      })
})

group('rotary positions', (agrees) => {
  for (const pairs of ['half', 'interleaved'] as const)
    for (const layout of ['separate', 'grouped'] as const)
      for (const [headDim, dim, axes] of [[16, 16, 1], [20, 12, 1], [16, 16, 2], [24, 16, 2]] as const)
        for (const scaled of [false, true])
          agrees(`${pairs}, ${layout}, ${dim} of ${headDim}, ${axes} axes${scaled ? ', scaled queries' : ''}`, (blocks, dtype, on) => {
            const shape = shapeOf(layout, 6, 2, headDim, { dim, layout: pairs, axes }), tokens = 5, angles = matrix([tokens, dim / 2], 5, 3)
            const rope: RopeTables = on({ cos: ops.cos(angles), sin: ops.sin(angles), queryScale: scaled ? ops.add(matrix([tokens], 9), 2) : null }), at = context(dtype, [0, tokens], rope)
            return [1, 2].map((seed) => blocks.rotary[seed === 1 ? 'forward' : 'backward'](on(as(matrix([tokens, 10 * headDim], seed), dtype)), shape, place('rotary'), at))
          })
})

group('activations', (agrees) => {
  for (const activation of ['silu', 'gelu', 'gelu_tanh', 'relu'] as const)
    for (const kind of ['gated', 'plain'] as const)
      for (const width of [64, 37])
        agrees(`${activation}, ${kind}, width ${width}`, (blocks, dtype, on) => {
          const shape: ActivationShape = { kind, activation, width }, tokens = 9, wide = kind === 'gated' ? 2 * width : width
          const { out, saved } = blocks.activation.forward(on(as(matrix([tokens, wide], 1, 4), dtype)), shape, place('activation'), context(dtype, [0, tokens], noRope))
          return [ops.clone(out), blocks.activation.backward(on(as(matrix([tokens, width], 2), dtype)), saved, shape, place('activation'))]
        })
})

group('head and loss', (agrees) => {
  for (const [rows, vocabulary, hidden, trained] of [[9, 304, 32, false], [33, 2500, 45, true], [1, 63, 16, true]] as const)
    agrees(`${rows} rows, ${vocabulary} words, weight ${trained ? 'trained' : 'frozen'}`, (blocks, dtype, on) => {
      const weights = on({ weight: weight(matrix([vocabulary, hidden], 1, 0.5), dtype, trained) })
      const labels = on(tensor(BigInt64Array.from({ length: rows }, (_, i) => BigInt((i * 37) % vocabulary))))
      const { lossSum, gradHidden } = blocks.head.loss(on(as(matrix([rows, hidden], 2), dtype)), labels, weights, { scale: 1 / rows, gradient: true })
      return [ops.view(lossSum, [1]), gradHidden as Tensor, ...(weights.weight.grad ? [weights.weight.grad] : [])]
    })

})

function linearRun(c: LinearCase, tokens: number, withResidual: boolean): Run {
  return (blocks, dtype, on) => {
    const weights = on(linearWeights(c, dtype)), at = context(dtype, [0, tokens], noRope)
    const x = on(as(matrix([tokens, c.inFeatures], 1), dtype)), residual = withResidual ? on(as(matrix([tokens, weights.outFeatures], 2), dtype)) : null
    const { out, saved } = blocks.linear.forward(x, residual, weights, place('qkv'), at)
    return [ops.clone(out), blocks.linear.backward(on(as(matrix([tokens, weights.outFeatures], 3), dtype)), saved, weights, place('qkv')), ...linearGradients(weights)]
  }
}

group('linear', (agrees) => {
  const joined = { inFeatures: 48, parts: [48, 16, 16], rank: 8, bias: false, trainWeight: false }
  agrees('frozen, joined adapters', linearRun({ ...joined, adapted: [0, 1, 2] }, 37, false))
  agrees('one adapted part, bias, residual', linearRun({ ...joined, adapted: [1], bias: true }, 130, true))
  agrees('trained weight and bias', linearRun({ ...joined, adapted: [], bias: true, trainWeight: true }, 50, true))
  agrees('sizes that are multiples of nothing', linearRun({ inFeatures: 45, parts: [37, 11, 5], adapted: [0, 2], rank: 3, bias: true, trainWeight: true }, 29, false))
})
