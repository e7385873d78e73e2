import assert from 'node:assert/strict'
import { test } from 'node:test'
import { llama } from 'fettle/dist/models/families/llama'
import { stepMemory } from 'fettle/dist/models/memory'
import { availableMemory, planMemory } from 'fettle/dist/worker/memory'
import type { Recompute } from 'fettle/dist/train/walk'

const architecture = llama.architecture({ model_type: 'llama', vocab_size: 32000, hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 32, intermediate_size: 11008, rms_norm_eps: 1e-5, max_position_embeddings: 4096 })
const plan = (tokens: number, warnings: string[]): { recompute: Recompute } => {
  const lengths = [10, tokens - 30, 20]
  return planMemory({ architecture, bytesPerValue: 2, trainable: 1000, device: 'cpu' }, { step: 41, rows: [0, 1, 2], tokens }, (row) => lengths[row], (code, message) => warnings.push(`${code} ${message}`))
}
/** Most tokens that fit. */
const fitting = (recompute: boolean): number => Math.floor(availableMemory('cpu') / stepMemory(architecture, { tokens: 1, longest: 1, bytesPerValue: 2, recompute }))

test('what fits runs as it is', () => {
  const warnings: string[] = []
  assert.deepEqual(plan(100, warnings), { recompute: false })
  assert.deepEqual(warnings, [])
})

test('what fits only with recompute runs so, and says it', () => {
  const warnings: string[] = []
  assert.deepEqual(plan(2 * fitting(false), warnings), { recompute: true })
  assert.match(warnings.join(), /^train\.recompute .*step 42.*row number 1/)
})

test('a row that cannot fit is refused before training, by its number and length', () => {
  const tokens = 3 * fitting(true)
  assert.throws(() => plan(tokens, []), (error: { name: string; code: string; message: string; details: { remedyFlags: string } }) => {
    assert.deepEqual([error.name, error.code], ['TrainingError', 'train.memory'])
    assert.match(error.message, new RegExp(`row number 1 with ${tokens - 30}`))
    assert.match(error.message, /maxLength/)
    assert.match(error.details.remedyFlags, /max_length/)
    return true
  })
})
