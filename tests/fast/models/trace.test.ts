import * as assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { memory, ops, scope, tensor, type Tensor } from 'fettle-native'
import { trace } from 'fettle/dist/train/trace'
import { goldenCase, gradientError, largestDifference, need } from '../../support/golden'
import { fixture } from '../../support/paths'

const model = fixture('golden', 'llama-v2-gqa')

function batch(): Map<string, Tensor> {
  const { io } = goldenCase('llama-v2-gqa')
  return new Map(['input_ids', 'attention_mask', 'labels'].map((key) => [key, need(io, `batch.${key}`)]))
}

describe('trace', () => {
  test('a mask of [B, 1, T, T] says all that is seen', () => scope(() => {
    const inputs = batch(), [rows, length] = need(inputs, 'input_ids').shape
    const two = trace({ model, inputs, grads: ['model.norm.weight'] })
    const keys = ops.view(ops.ne(need(inputs, 'attention_mask'), 0), [rows, 1, 1, length])
    const four = ops.logical_and(keys, ops.tril(ops.ones([length, length], { dtype: 'bool' })))
    for (const mask of [four, ops.to_dtype(four, 'int64'), ops.to_dtype(four, 'float32')]) {
      const result = trace({ model, inputs: new Map([...inputs, ['attention_mask', mask]]), grads: ['model.norm.weight'] })
      for (const name of two.keys()) assert.equal(largestDifference(need(result, name), need(two, name)), 0, name)
    }
    const open = trace({ model, inputs: new Map([...inputs, ['attention_mask', ops.ones([1, 1, length, length])]]) })
    assert.ok(largestDifference(need(open, 'logits'), need(two, 'logits')) > 0.01)
  }))

  test('rotary positions are relative: shifted position_ids change nothing, stretched ones do', () => scope(() => {
    const { io } = goldenCase('llama-v2-gqa'), ids = need(io, 'single.input_ids'), length = ids.shape[1]
    const at = (position: (t: number) => number): Tensor => need(trace({ model, inputs: new Map([['input_ids', ids], ['position_ids', tensor(Array.from({ length }, (_, t) => BigInt(position(t))), [1, length])]]) }), 'logits')
    const reference = need(io, 'single.logits')
    assert.ok(largestDifference(at((t) => t), reference) <= 1e-4)
    assert.ok(largestDifference(at((t) => t + 50), reference) <= 1e-4)
    assert.ok(largestDifference(at((t) => 3 * t), reference) > 0.01)
  }))

  test('ids and masks may be int32 or bool', () => scope(() => {
    const inputs = batch(), reference = trace({ model, inputs })
    const other = trace({ model, inputs: new Map([['input_ids', ops.to_dtype(need(inputs, 'input_ids'), 'int32')], ['labels', ops.to_dtype(need(inputs, 'labels'), 'int32')], ['attention_mask', ops.to_dtype(need(inputs, 'attention_mask'), 'bool')]]) })
    for (const name of ['logits', 'loss']) assert.equal(largestDifference(need(other, name), need(reference, name)), 0)
  }))

  test('bf16 stays near fp32, gradients too', () => scope(() => {
    const inputs = batch(), wide = trace({ model, inputs, grads: 'all' }), narrow = trace({ model, inputs, grads: 'all', dtype: 'bf16' })
    assert.ok(Math.abs(need(narrow, 'loss').item() - need(wide, 'loss').item()) < 0.02)
    assert.equal(need(narrow, 'logits').dtype, 'float32')
    const names = [...wide.keys()].filter((key) => key.startsWith('grad.'))
    const worst = gradientError(names.map((name) => ({ name, seen: need(narrow, name), reference: need(wide, name) })))
    assert.ok(worst.error < 0.1, `${worst.name}: ${worst.error}`)
  }))

  test('a tied head answers with the embedding\'s gradient', () => scope(() => {
    const { folder, io } = goldenCase('llama-tied-smollm')
    const inputs = new Map(['input_ids', 'labels'].map((key) => [key, need(io, `batch.${key}`)]))
    const result = trace({ model: folder, inputs, grads: ['lm_head.weight', 'model.embed_tokens.weight'] })
    assert.equal(largestDifference(need(result, 'grad.lm_head.weight'), need(result, 'grad.model.embed_tokens.weight')), 0)
  }))

  test('steps train everything, the adapter alone, or the merged model', () => scope(() => {
    const { io } = goldenCase('lora-llama'), adapter = fixture('golden', 'lora-llama')
    const inputs = new Map(['input_ids', 'attention_mask', 'labels'].map((key) => [key, need(io, key)]))
    const options = { model, inputs, steps: 2, learningRate: 1e-3, weightDecay: 0.1 }
    const count = (result: Map<string, Tensor>): number => [...result.keys()].filter((key) => key.startsWith('after.')).length
    const full = trace(options), lora = trace({ ...options, adapter }), merged = trace({ ...options, adapter, merge: true })
    assert.deepEqual([full, lora, merged].map(count), [30, 42, 30])
    assert.ok(merged.has('after.model.layers.0.self_attn.q_proj.weight'))
    assert.ok(largestDifference(need(merged, 'loss'), need(io, 'loss')) <= 1e-5)
    for (const result of [full, lora, merged]) {
      const [first, second] = need(result, 'losses').toArray()
      assert.ok(second < first)
      assert.equal(first, need(result, 'loss').item())
    }
  }))

  test('labels that supervise nothing leave the logits, and no loss', () => scope(() => {
    const inputs = batch(), labels = ops.full_like(need(inputs, 'labels'), -100)
    const result = trace({ model, inputs: new Map([...inputs, ['labels', labels]]) })
    assert.deepEqual([...result.keys()], ['logits'])
    assert.equal(largestDifference(need(result, 'logits'), need(trace({ model, inputs }), 'logits')), 0)
  }))

  test('refuses inputs and options by name', () => scope(() => {
    const inputs = batch(), ids = need(inputs, 'input_ids')
    const run = (change: readonly (readonly [string, Tensor | null])[], options: object = {}): (() => unknown) => () => {
      const changed = new Map(inputs)
      for (const [name, value] of change) if (value === null) changed.delete(name)
        else changed.set(name, value)
      return trace({ model, inputs: changed, ...options })
    }
    for (const [body, code, message] of [
      [run([['input_ids', null]]), 'trace.input', /input_ids/],
      [run([['input_ids', ops.add(ids, 1000)]]), 'trace.input', /from 0 to 319.*input_ids/],
      [run([['attention_mask', ops.ones([2, 3])]]), 'trace.input', /attention_mask.*\[2, 3\]/],
      [run([['labels', ops.full_like(ids, -100)]], { grads: 'all' }), 'trace.option', /at least one label other than −100/],
      [run([['labels', ops.full_like(ids, -100)]], { steps: 1 }), 'trace.option', /at least one label other than −100/],
      [run([['input_ids', ops.to_dtype(ids, 'float32')]]), 'trace.input', /whole numbers for input_ids in the inputs, got float32 \[.*\]; write it as int64/],
      [run([['labels', ops.to_dtype(ids, 'float32')]]), 'trace.input', /whole numbers for labels.*float32/],
      [run([['position_ids', ops.to_dtype(ids, 'bfloat16')]]), 'trace.input', /whole numbers for position_ids.*bfloat16/],
      [run([['attention_mask', ops.full_like(ops.to_dtype(ids, 'float32'), -1e9)]]), 'trace.input', /1 = seen, 0 = not \(additive masks are not read\) for attention_mask.*got -1000000000/],
      [run([['attention_mask', ops.full_like(ids, 2)]]), 'trace.input', /attention_mask.*got 2/],
      [run([['position_ids', ops.zeros([7])]]), 'trace.input', /position_ids/],
      [run([['labels', null]], { grads: 'all' }), 'trace.option', /labels/],
      [run([], { grads: ['model.nrm.weight'] }), 'plan.unknown', /"model\.nrm\.weight"; try model\.norm\.weight/],
      [run([], { merge: true }), 'trace.option', /merge/],
    ] as const) assert.throws(body, (error: Error & { code: string }) => error.code === code && message.test(error.message))
  }))

  test('leaves no tensor behind', () => {
    const run = (): void => { scope(() => { trace({ model, inputs: batch(), grads: 'all', steps: 1, adapter: fixture('golden', 'lora-llama') }) }) }
    run()
    const before = memory().liveTensors
    run()
    assert.equal(memory().liveTensors, before)
  })
})
