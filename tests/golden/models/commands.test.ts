import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as path from 'node:path'
import { test } from 'node:test'
import { fixture, repoRoot } from '../../support/paths'
import { largestDifference, readPlain, relativeError, writePlain, type PlainTensor } from '../../support/safetensors'
import { temporaryFolder } from '../../support/tiny'

const bin = path.join(repoRoot, 'sdk', 'bin', 'fettle.js')
const cases = ['llama-v1-mha', 'bloom-12-heads', 'opt-350m-style', 'qwen-7b-past-seq-length', 'chatglm-6b', 'chatglm2-6b', 'mistral-window', 'qwen2-window', 'qwen3-windows', 'glm4-9b-style', 'glm4-0414', 'gemma', 'phi3-window']

function fettle(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', env: { ...process.env, OMP_NUM_THREADS: '1' } })
  assert.equal(status, 0, stderr)
  return stdout
}

for (const name of cases) {
  const folder = fixture('golden', name), io = readPlain(path.join(folder, 'io.safetensors'))

  test(`fettle generate --ids continues ${name} as its reference`, () => {
    const ids = io.get('generate.prompt_ids')!.values.join(',')
    const { ids: seen } = JSON.parse(fettle('generate', folder, '--ids', ids, '--max-new-tokens', '16', '--min-new-tokens', '16', '--temperature', '0', '--json')) as { ids: number[] }
    assert.deepEqual(seen, io.get('generate.new_ids')!.values)
  })

  for (const blocks of ['plain', 'auto']) {
    test(`fettle trace writes logits, loss and gradients of ${name} (${blocks} blocks)`, (t) => {
      const inputs = path.join(temporaryFolder(t), 'in.safetensors'), out = path.join(path.dirname(inputs), 'out.safetensors')
      const given = ['input_ids', 'attention_mask', 'position_ids', 'labels'].flatMap((key): [string, PlainTensor & { dtype: 'I64' }][] => {
        const found = io.get(`batch.${key}`)
        return found === undefined ? [] : [[key, { ...found, dtype: 'I64' }]]
      })
      writePlain(inputs, Object.fromEntries(given))
      fettle('trace', folder, '--inputs', inputs, '--out', out, '--grads', 'all', '--blocks', blocks)
      const traced = readPlain(out), difference = (key: string): number => largestDifference(traced.get(key)!.values, io.get(`batch.${key}`)!.values)
      assert.ok(difference('logits') <= 1e-4, `logits are off by ${difference('logits')}`)
      assert.ok(difference('loss') <= 1e-5, `loss is off by ${difference('loss')}`)
      // Biases of keys have no gradient but rounding; a tied head's is part of the embedding's.
      const grads = [...traced.keys()].filter((key) => key.startsWith('grad.') && io.has(key) && !key.endsWith('k_proj.bias'))
      assert.ok(grads.length > 5)
      for (const key of grads) assert.ok(relativeError(traced.get(key)!.values, io.get(key)!.values) <= 1e-4, key)
    })
  }
}
