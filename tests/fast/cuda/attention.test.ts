import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { noGrad, operator, ops, scope, type DType, type NativeError, type Tensor } from 'fettle-native'
import { CudaAttention, efficientAttention, flashAttention, pickAttention, type VarlenAttention } from 'fettle/dist/models/blocks/cuda-attention'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import type { AttentionBlock, BlockContext, HeadShape } from 'fettle/dist/models/blocks/types'
import { context, difference, matrix, place } from '../kernels/support'
import { byFormula, packed } from './support'

const shapeOf = (heads: number, kvHeads: number, headDim = 16, layout: HeadShape['layout'] = 'separate', window?: number): HeadShape =>
  ({ heads, kvHeads, headDim, scale: headDim ** -0.5, layout, windowed: window !== undefined, ...(window === undefined ? {} : { window }), rotary: null })
const noRope = { cos: ops.ones([1, 1]), sin: ops.ones([1, 1]), queryScale: null }
const offsets = [0, 7, 8, 30]

describe('libtorch takes what the attention of packed sequences is called with', () => {
  for (const [name, varlen, dtype] of [['flash', flashAttention, 'bfloat16'], ['efficient', efficientAttention, 'float32']] as const)
    for (const window of [null, 5])
      test(`${name}${window === null ? '' : ', a window'}: all that is missing here is the GPU`, () => scope(() => {
        const { q, k, v, starts } = packed(offsets, shapeOf(4, 2), dtype as DType), sequences = { starts, longest: 22 }
        const noGpu = (error: NativeError): boolean => error.code === 'native.torch' && /'CPU' backend/.test(error.message)
        assert.throws(() => varlen.forward(q, k, v, sequences, 0.25, window), noGpu)
        const rest = [1, 2, 3].map(() => ops.zeros([1]))
        assert.throws(() => varlen.backward(q, q, k, v, { out: q, rest }, sequences, 0.25, window), noGpu)
      }))

  test('its operators have the parameters that are given by place', () => {
    const of = (name: string): readonly string[] => operator(`aten::${name}`).names
    assert.deepEqual(of('_flash_attention_forward').slice(0, 10), ['query', 'key', 'value', 'cum_seq_q', 'cum_seq_k', 'max_q', 'max_k', 'dropout_p', 'is_causal', 'return_debug_mask'])
    assert.deepEqual(of('_flash_attention_backward').slice(0, 14), ['grad_out', 'query', 'key', 'value', 'out', 'logsumexp', 'cum_seq_q', 'cum_seq_k', 'max_q', 'max_k', 'dropout_p', 'is_causal', 'rng_state', 'unused'])
    assert.deepEqual(of('_efficient_attention_forward').slice(0, 11), ['query', 'key', 'value', 'bias', 'cu_seqlens_q', 'cu_seqlens_k', 'max_seqlen_q', 'max_seqlen_k', 'dropout_p', 'custom_mask_type', 'compute_log_sumexp'])
    assert.deepEqual(of('_efficient_attention_backward').slice(0, 16), ['grad_out_', 'query', 'key', 'value', 'bias', 'out', 'cu_seqlens_q', 'cu_seqlens_k', 'max_seqlen_q', 'max_seqlen_k', 'logsumexp', 'dropout_p', 'philox_seed', 'philox_offset', 'custom_mask_type', 'bias_requires_grad'])
  })
})

test('which kernel serves a layer follows from its heads, its type and the GPU', () => {
  assert.equal(pickAttention(80)(shapeOf(4, 2, 64), 'bfloat16'), flashAttention)
  assert.equal(pickAttention(90)(shapeOf(4, 2, 64), 'float32'), efficientAttention)
  assert.equal(pickAttention(75)(shapeOf(4, 2, 64), 'float16'), null)
  assert.equal(pickAttention(90)(shapeOf(4, 2, 264), 'float16'), null)
  assert.equal(pickAttention(90)(shapeOf(4, 2, 20), 'float32'), null)
})

/** Output and gradient of the joined qkv. */
function run(block: AttentionBlock, shape: HeadShape, bias: BlockContext['scores'] = { full: null, windowed: null }): Tensor[] {
  const { qkv } = packed(offsets, shape, 'float32'), at = { ...context('float32', offsets, noRope), scores: bias }
  const { out, saved } = block.forward(qkv, shape, place('attention'), at)
  return [ops.clone(out), block.backward(matrix([30, shape.heads * shape.headDim], 5), saved, shape, place('attention'), at)]
}

function counted(): { varlen: VarlenAttention; calls: () => number } {
  let calls = 0
  return { varlen: { ...byFormula, forward: (...given) => { calls++; return byFormula.forward(...given) } }, calls: () => calls }
}

describe('the block cuts heads and joins gradients as the plain form does', () => {
  for (const layout of ['separate', 'grouped'] as const)
    for (const [heads, kvHeads] of [[4, 4], [6, 2]])
      test(`${layout}, ${heads} heads over ${kvHeads}`, () => noGrad(() => scope(() => {
        const shape = shapeOf(heads, kvHeads, 16, layout), { varlen, calls } = counted(), block = new CudaAttention(() => varlen)
        const expected = run(plainBlocks().attention, shape)
        run(block, shape).forEach((t, i) => assert.ok(difference(t, expected[i]) < 1e-5, `result ${i}: ${difference(t, expected[i])}`))
        assert.equal(calls(), 1)
        block.free()
      })))

  test('a window is told to the kernel', () => noGrad(() => scope(() => {
    const shape = shapeOf(4, 2, 16, 'separate', 5), distance = ops.sub(ops.view(ops.arange(0, 22), [22, 1]), ops.view(ops.arange(0, 22), [1, 22]))
    const seen = ops.view(ops.logical_and(ops.ge(distance, 0), ops.lt(distance, 5)), [1, 1, 22, 22]), scores = { full: null, windowed: seen }
    const { varlen, calls } = counted(), block = new CudaAttention(() => varlen), expected = run(plainBlocks().attention, shape, scores)
    run(block, shape, scores).forEach((t, i) => assert.ok(difference(t, expected[i]) < 1e-5, `result ${i}: ${difference(t, expected[i])}`))
    assert.equal(calls(), 1)
    block.free()
  })))

  test('slopes and masks of each sequence go to the plain form', () => noGrad(() => scope(() => {
    const { varlen, calls } = counted(), block = new CudaAttention(() => varlen), shape = shapeOf(4, 2)
    const slopes = { full: ops.tril(ops.ones([1, 4, 22, 22])), windowed: null }
    run(block, shape, slopes).forEach((t, i) => assert.equal(difference(t, run(plainBlocks().attention, shape, slopes)[i]), 0))
    run(block, shape, { full: [7, 1, 22].map((n) => ops.ones([1, 1, n, n], { dtype: 'bool' })), windowed: null })
    assert.equal(calls(), 0)
    block.free()
  })))
})
