import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { call, noGrad, ops, scope, tensor, type DType, type Tensor } from 'fettle-native'
import type { CachedAttention } from 'fettle/dist/models/batch'
import { fusedBlocks } from 'fettle/dist/models/blocks/fused'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import type { BlockContext, Blocks, HeadShape, ScoreBias } from 'fettle/dist/models/blocks/types'
import { decodeMask, KeyValueCache } from 'fettle/dist/models/cache'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { generate } from 'fettle/dist/train/generate'
import { sampleByOperators, Sampler } from 'fettle/dist/train/sampling'
import { fixture } from '../../support/paths'
import { as, context, difference, levels, linearGradients, linearWeights, matrix, numbers, place, spread } from './support'

after(() => call('fettle::use_kernels', '', 'auto', 'auto'))

interface Case {
  readonly heads: number; readonly kvHeads: number; readonly headDim: number; readonly layout: HeadShape['layout']
  /** Tokens that each row has before the new one. */
  readonly starts: readonly number[]
  readonly bias?: 'alibi' | 'window'
}

/** The step's attention, then what the cache holds of each row. */
function step(c: Case, blocks: Blocks, dtype: DType): Tensor[] {
  const { heads, kvHeads, headDim, layout, starts } = c, rows = starts.length, width = (heads + 2 * kvHeads) * headDim
  const cache = new KeyValueCache({ layers: 1, kvHeads, headDim }, rows, Math.max(...starts) + 3, dtype, 'cpu'), { keys, values } = cache.layer(0)
  ;[keys, values].forEach((kept, i) => starts.forEach((start, row) => {
    if (start > 0) ops.copy_(ops.narrow(ops.select(kept, 0, row), 0, 0, start), as(matrix([start, kvHeads, headDim], 7 + i + 2 * row), dtype))
  }))
  const mask = decodeMask(starts, 'cpu'), longest = Math.max(...starts) + 1
  const attention: CachedAttention = {
    kind: 'cached', cache, offsets: [0, ...starts.map((_, i) => i + 1)], lengths: starts.map((start) => start + 1), mask,
    slots: { rows: tensor(starts.map((_, i) => BigInt(i))), columns: tensor(starts.map(BigInt)) },
  }
  const scores = { full: mask as ScoreBias, windowed: null as ScoreBias }
  if (c.bias === 'alibi') scores.full = as(ops.where_scalar(mask, ops.mul(matrix([1, heads, 1, longest], 3), ops.ones([rows, 1, 1, 1], { dtype: 'float32' })), -Infinity), dtype)
  if (c.bias === 'window') scores.windowed = ops.logical_and(mask, ops.gt(ops.view(ops.arange(0, longest, 1, { dtype: 'int64' }), [1, 1, 1, longest]), ops.view(tensor(starts.map((start) => BigInt(start - 5))), [rows, 1, 1, 1])))
  const shape: HeadShape = { heads, kvHeads, headDim, layout, scale: 0.3, windowed: c.bias === 'window', rotary: null }
  const at: BlockContext = { ...context(dtype, attention.offsets as number[], null, 'infer'), attention, scores }
  const out = ops.clone(blocks.attention.forward(as(matrix([rows, width], 1), dtype), shape, place('attention'), at).out)
  const kept = [keys, values].map((t) => ops.clone(t))
  cache.free()
  return [out, ...kept]
}

/** fp32: fused equals plain. bf16: as near to the fp32 result as plain is. On every level of this CPU. */
function agrees(name: string, c: Case): void {
  for (const level of levels()) test(`${name} (${level})`, () => {
    call('fettle::use_kernels', '', level, 'auto')
    noGrad(() => scope(() => {
      const plain = plainBlocks(), fused = fusedBlocks(), reference = step(c, plain, 'float32'), half = step(c, plain, 'bfloat16')
      step(c, fused, 'float32').forEach((t, i) => assert.ok(difference(t, reference[i]) <= 1e-5, `fp32 result ${i}: ${difference(t, reference[i])}`))
      step(c, fused, 'bfloat16').forEach((t, i) => assert.ok(spread(t, reference[i]) <= Math.max(1.1 * spread(half[i], reference[i]), 2 ** -8), `bf16 result ${i}: ${spread(t, reference[i])}, plain ${spread(half[i], reference[i])}`))
      fused.free()
    }))
  })
}

describe('attention of one more token over a cache: fused against plain', () => {
  agrees('grouped queries, rows of different lengths', { heads: 6, kvHeads: 2, headDim: 16, layout: 'separate', starts: [0, 5, 31, 12] })
  agrees('more keys than a block has, and exactly as many', { heads: 9, kvHeads: 3, headDim: 64, layout: 'separate', starts: [700, 255, 256] })
  agrees('one key-value head for many, of a size that is a multiple of nothing', { heads: 11, kvHeads: 1, headDim: 13, layout: 'separate', starts: [40, 300] })
  agrees('heads in groups', { heads: 6, kvHeads: 3, headDim: 24, layout: 'grouped', starts: [3, 60] })
  agrees('distances added (ALiBi)', { heads: 4, kvHeads: 4, headDim: 16, layout: 'grouped', starts: [270, 9] })
  agrees('a window', { heads: 4, kvHeads: 2, headDim: 16, layout: 'separate', starts: [300, 2, 40], bias: 'window' })
})
describe('attention of one more token, with what is added to scores', () => {
  agrees('ALiBi over more than a block', { heads: 4, kvHeads: 4, headDim: 16, layout: 'grouped', starts: [270, 9], bias: 'alibi' })
})

test('a few rows against a weight: each number of rows, sizes that are multiples of nothing', () => {
  for (const level of levels()) for (const [inFeatures, out] of [[45, 71], [64, 128], [130, 9]]) noGrad(() => scope(() => {
    call('fettle::use_kernels', '', level, 'auto')
    for (let rows = 1; rows <= 9; rows++) for (const dtype of ['float32', 'bfloat16'] as const) {
      const run = (blocks: Blocks, type: DType): Tensor => {
        const weights = linearWeights({ inFeatures, parts: [out], adapted: [0], rank: 3, bias: true, trainWeight: false }, type)
        assert.ok(linearGradients(weights).length > 0)
        return ops.clone(blocks.linear.forward(as(matrix([rows, inFeatures], 1), type), as(matrix([rows, out], 2), type), weights, place('qkv'), context(type, [0, rows], null, 'infer')).out)
      }
      const fused = fusedBlocks(), reference = run(plainBlocks(), 'float32'), error = difference(run(fused, dtype), reference)
      assert.ok(error <= (dtype === 'float32' ? 1e-5 : 2 ** -7), `${level}, ${rows} rows of ${inFeatures} → ${out}, ${dtype}: ${error}`)
      fused.free()
    }
  }))
})

test('a whole layer in one call continues as blocks one by one do, in fp32 token for token', () => {
  for (const name of ['llama-v2-gqa', 'llama-tied-smollm', 'qwen2', 'mistral-window', 'llama-biases', 'llama-rope-dynamic']) {
    const parameters = loadParameters(openWeights(fixture('golden', name)), { dtype: 'float32', device: 'cpu', train: false })
    const prompts = [[5, 17, 9, 20, 31], [44], Array.from({ length: 40 }, (_, i) => 3 + ((i * 7) % 60))], options = { maxNewTokens: 24, stopIds: [] }
    let calls = 0
    const blocks = fusedBlocks(), decode = blocks.decode!
    const counted = new Decoder(parameters, { ...blocks, decode: { forward: (...args) => { const out = decode.forward(...args); calls += out === null ? 0 : 1; return out } } })
    const plain = new Decoder(parameters, plainBlocks())
    assert.deepEqual(generate(counted, prompts, options), generate(plain, prompts, options), name)
    assert.equal(calls, 23 * parameters.architecture.layers, name)
    counted.free()
    plain.free()
    parameters.free()
  }
})

describe('sampling in one call', () => {
  const rows = 5, vocab = 3000
  for (const level of levels()) test(`picks what the operators pick (${level})`, () => {
    call('fettle::use_kernels', '', level, 'auto')
    for (const [size, options] of [[8, {}], [0.2, {}], [8, { topP: 0.9 }], [1, { topP: 0.999 }], [8, { topK: 20 }], [3, { topK: 2999, topP: 0.5 }], [4, { topK: 5, topP: 0.6 }], [8, { temperature: 0 }], [8, { temperature: 0.1, topP: 0.3 }]] as const) scope(() => {
      const logits = tensor(numbers(rows * vocab, 77).map((x) => x * size), [rows, vocab]), how = { temperature: 1, topK: 0, topP: 1, ...options }
      for (const draw of [0, 0.03, 0.4, 0.77, 0.9999]) {
        const draws = Array.from({ length: rows }, (_, i) => Math.fround((draw + i * 0.01) % 1))
        assert.deepEqual(call('fettle::sample', '', logits, how.temperature, how.topK, how.topP, draws), sampleByOperators(logits, how, draws), JSON.stringify({ size, options, draw }))
      }
    })
  })

  test('tokens that are ruled out are never drawn, and one alone always is', () => scope(() => {
    const logits = ops.full([2, 100], -Infinity, { dtype: 'float32' })
    ops.index_fill_(logits, 1, tensor([41n]), 2)
    assert.deepEqual(new Sampler({ temperature: 1, seed: 3 }, 2).next(logits, [0, 1]), [41, 41])
  }))
})
