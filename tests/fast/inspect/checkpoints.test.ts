import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { adapter, CheckpointError, checkpoints } from 'fettle'
import { findCheckpoint } from 'fettle/dist/train/checkpoints'
import { writeWhole } from 'fettle/dist/train/manifest'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

test('checkpoints: whole or broken, losses of their steps, the one that a resume takes', async (t) => {
  const dir = temporaryFolder(t)
  const write = (step: number) => writeWhole(path.join(dir, `checkpoint-${step}`), step, (folder) => {
    for (const name of ['adapter_config.json', 'adapter_model.safetensors']) fs.copyFileSync(fixture('golden', 'lora-llama', name), path.join(folder, name))
  })
  for (const step of [2, 4, 6, 8, 10]) await write(step)
  const lines = [
    ...[1, 2, 3, 4, 3, 4, 5, 6].map((step, i) => ({ type: 'step', time: 1, step, loss: 10 - i })),
    { type: 'eval', time: 1, atStep: 4, loss: 2.5, perplexity: 1, accuracy: 0, rows: 1, ms: 1 },
  ]
  fs.writeFileSync(path.join(dir, 'metrics.jsonl'), `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`)
  fs.rmSync(path.join(dir, 'checkpoint-10', 'manifest.json'))
  fs.appendFileSync(path.join(dir, 'checkpoint-8', 'adapter_config.json'), ' ')
  // Of the same size: only the contents tell.
  const file = path.join(dir, 'checkpoint-6', 'adapter_config.json')
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('LORA', 'LORB'))

  const list = await checkpoints(dir)
  assert.deepEqual([...list].map(({ step, state, loss, evalLoss, kind }) => [step, state, loss, evalLoss, kind]), [
    [2, 'whole', 9, null, 'adapter'], [4, 'whole', 5, 2.5, 'adapter'], [6, 'whole', 3, null, 'adapter'], [8, 'broken', null, null, 'adapter'], [10, 'broken', null, null, 'adapter']])
  assert.equal(list.newest?.step, 6)
  assert.match(list.checkpoints[3].reason!, /^adapter_config\.json has \d+ bytes where its manifest says \d+/)
  assert.match(list.checkpoints[4].reason!, /^manifest\.json is missing/)
  const verified = await checkpoints({ dir }, { verify: true })
  assert.deepEqual([verified.newest?.step, verified.checkpoints[2].state], [4, 'broken'])
  assert.equal((await findCheckpoint(dir, true, () => undefined)).step, 4)
  assert.match(String(list), /^5 checkpoints\n.* · \.resume\(\) goes on after step 6\n\nstep .*\n[- ]+\n2 .*\n4 .*2\.500/)
  assert.equal((await adapter(path.join(dir, 'checkpoint-4'))).steps, 4)
})

test('a folder without checkpoints, and no folder', async (t) => {
  const dir = temporaryFolder(t)
  const list = await checkpoints(dir)
  assert.deepEqual([list.checkpoints, list.newest, String(list)], [[], null, `No checkpoint yet\n${dir}`])
  await assert.rejects(checkpoints(path.join(dir, 'nothing')), (error) => error instanceof CheckpointError && error.code === 'checkpoint.missing')
})
