import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { cudaKernels, noGrad, ops, scope, type DType, type Tensor } from 'fettle-native'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import type { Blocks, HeadShape } from 'fettle/dist/models/blocks/types'
import { cases, type Run } from '../fast/cuda/cases'
import { as, context, difference, matrix, place, spread } from '../fast/kernels/support'
import { gpu, onCpu, onGpu, skip } from './support'

const formOf = (dtype: DType): Blocks => chooseBlocks({ device: gpu, dtype, blocks: 'auto' })

/** fp32 on the GPU equals the plain form on the CPU; halves are as near to it as the plain form on the GPU is. */
function agrees({ name, run }: { readonly name: string; readonly run: Run }): void {
  test(name, { skip }, () => noGrad(() => scope(() => {
    const reference = run(plainBlocks(), 'float32', (data) => data), results = (blocks: Blocks, dtype: DType): Tensor[] => run(blocks, dtype, onGpu).map(onCpu)
    results(formOf('float32'), 'float32').forEach((t, i) => assert.ok(difference(t, reference[i]) <= 1e-4, `fp32 result ${i}: ${difference(t, reference[i])}`))
    for (const dtype of ['bfloat16', 'float16'] as const) {
      const plain = results(plainBlocks(), dtype), unit = dtype === 'bfloat16' ? 2 ** -8 : 2 ** -11
      results(formOf(dtype), dtype).forEach((t, i) => {
        const own = spread(t, reference[i]), plainly = spread(plain[i], reference[i])
        assert.ok(own <= Math.max(1.1 * plainly, unit), `${dtype} result ${i}: ${own}, plain ${plainly}`)
      })
    }
  })))
}

test('the form for GPUs is chosen, and says what it compiles for', { skip }, () => {
  const { obstacle, architectures } = cudaKernels()
  assert.equal(obstacle, null)
  assert.match(architectures[0], /^sm_\d+$/)
  assert.equal(formOf('bfloat16').form, 'cuda')
})

describe('kernels on the GPU against the plain form', () => cases.forEach(agrees))

const noRope = { cos: ops.ones([1, 1]), sin: ops.ones([1, 1]), queryScale: null }

/** Packed sequences in one call, against each sequence by itself. */
function attention(offsets: number[], shape: HeadShape): Run {
  return (blocks, dtype, on) => {
    const tokens = offsets[offsets.length - 1], longest = Math.max(...offsets.slice(1).map((end, i) => end - offsets[i]))
    const distance = ops.sub(ops.view(ops.arange(0, longest), [longest, 1]), ops.view(ops.arange(0, longest), [1, longest]))
    const seen = shape.window === undefined ? null : on(ops.view(ops.logical_and(ops.ge(distance, 0), ops.lt(distance, shape.window)), [1, 1, longest, longest]))
    const at = { ...context(dtype, offsets, noRope), scores: { full: null, windowed: seen } }
    const { out, saved } = blocks.attention.forward(on(as(matrix([tokens, (shape.heads + 2 * shape.kvHeads) * shape.headDim], 1, 2), dtype)), shape, place('attention'), at)
    return [ops.clone(out), blocks.attention.backward(on(as(matrix([tokens, shape.heads * shape.headDim], 2), dtype)), saved, shape, place('attention'), at)]
  }
}

describe('attention of packed sequences equals that of each sequence', () => {
  for (const layout of ['separate', 'grouped'] as const)
    for (const [heads, kvHeads, headDim] of [[4, 4, 32], [6, 2, 64], [8, 1, 128]] as const)
      for (const window of [undefined, 9])
        agrees({
          name: `${layout}, ${heads} heads of ${headDim} over ${kvHeads}${window ? `, window ${window}` : ''}`,
          run: attention([0, 7, 8, 50, 313], { heads, kvHeads, headDim, scale: headDim ** -0.5, layout, windowed: window !== undefined, ...(window === undefined ? {} : { window }), rotary: null }),
        })
})
