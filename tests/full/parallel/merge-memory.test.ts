import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as path from 'node:path'
import { test } from 'node:test'
import { openWeights } from 'fettle/dist/models/weights'
import { randomCheckpoint } from '../../support/parts'
import { repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const config = {
  model_type: 'llama', architectures: ['LlamaForCausalLM'], vocab_size: 8000, hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 8, num_attention_heads: 16, num_key_value_heads: 4,
  max_position_embeddings: 256, rms_norm_eps: 1e-5, rope_theta: 10000, tie_word_embeddings: false, hidden_act: 'silu', bos_token_id: 1, eos_token_id: 2,
}

/** Peak of resident memory above what libtorch takes, while a call of the SDK runs in a process of its own. */
function peakOf(code: string, ...args: string[]): number {
  const script = `const { ops } = require('fettle-native'); ops.zeros([1], { dtype: 'float32' })
    const before = process.resourceUsage().maxRSS, args = process.argv.slice(1);
    (async () => { ${code} })().then(() => console.log((process.resourceUsage().maxRSS - before) * 1024))`
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script, ...args], { cwd: repoRoot, encoding: 'utf8' })
  assert.match(stdout, /^\d+$/m, stderr)
  return Number(stdout)
}

test('merging and cutting anew keep one tensor at a time in memory, of a model of over 500 MB', async (t) => {
  const folder = temporaryFolder(t), checkpoint = path.join(folder, 'checkpoint-1'), bytes = await randomCheckpoint(checkpoint, config, 'tp=2,pp=2')
  assert.ok(bytes > 500e6)
  const warn = 'warn: () => {}'
  const merge = peakOf(`await require('fettle/dist/export/merge-ranks').mergeRanks({ checkpoint: args[0], output: args[1], ${warn} })`, checkpoint, path.join(folder, 'merged'))
  const cut = peakOf(`await require('fettle/dist/export/reshard').reshard({ checkpoint: args[0], output: args[1], mesh: require('fettle/dist/parallel/mesh/parse').parseMesh('tp=4'), ${warn} })`, checkpoint, path.join(folder, 'cut'))
  for (const peak of [merge, cut]) assert.ok(peak < bytes / 2, `peaks of ${merge} and ${cut} bytes for ${bytes}`)
  const weights = openWeights(path.join(folder, 'merged'))
  assert.deepEqual([weights.names().length, weights.info('model.embed_tokens.weight')], [8 * 9 + 3, { shape: [8000, 1024], dtype: 'bfloat16' }])
  weights.close()
})
