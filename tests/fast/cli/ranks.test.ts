import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as path from 'node:path'
import { test } from 'node:test'
import { fixture, repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const fettle = (...args: string[]) => spawnSync(process.execPath, [path.join(repoRoot, 'sdk', 'bin', 'fettle.js'), ...args], { encoding: 'utf8', env: { ...process.env, FETTLE_DEBUG: '' } })

test("merge-tp takes the reference's arguments: PaddleNLP's shards become a model", (t) => {
  const output = path.join(temporaryFolder(t), 'merged'), model = fixture('paddle', 'llama-tp2')
  const { status, stdout, stderr } = fettle('merge-tp', '--model_name_or_path', model, '--merge_model_path', output, '--device', 'gpu', '--with_tokenizer', 'true', '--json')
  assert.equal(status, 0, stderr)
  const { files, ...rest } = JSON.parse(stdout) as { files: string[] }
  assert.deepEqual(rest, { output, ranks: 2 })
  assert.ok(files.includes('model.safetensors') && files.includes('config.json'))
})

test('merge-tp of what is whole says so and copies it; an adapter is sent to merge-lora', (t) => {
  const whole = fettle('merge-tp', fixture('golden', 'llama-v2-gqa'), path.join(temporaryFolder(t), 'merged'))
  assert.equal(whole.status, 0)
  assert.match(whole.stderr, /is whole: nothing had to be merged, and its weights were copied to .*merged: model\.safetensors/)
  const adapter = fettle('merge-tp', fixture('golden', 'lora-llama'))
  assert.match(adapter.stderr, /fettle merge-lora MODEL .*\(checkpoint\.adapter\)/s)
})

test('what is missing is said with a command that works', (t) => {
  assert.match(fettle('merge-tp').stderr, /expected CHECKPOINT for fettle merge-tp[\s\S]*try fettle merge-tp output\/checkpoint-100/)
  assert.match(fettle('merge-tp', 'no/such').stderr, /checkpoint\.missing/)
  assert.match(fettle('reshard', 'out/checkpoint-2').stderr, /expected --mesh[\s\S]*try fettle reshard out\/checkpoint-2 --mesh tp=2 --output out\/checkpoint-2-tp2/)
  assert.match(fettle('reshard', 'c', '--mesh', 'tp=0', '--output', 'd').stderr, /expected a whole number of at least 1 for tp of a mesh/)
  assert.match(fettle('reshard', temporaryFolder(t), '--mesh', 'tp=2', '--output', 'd').stderr, /checkpoint\.missing/)
})
