import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { benchModule } from '../../support/bench'
import { temporaryFolder } from '../../support/tiny'

const files = { model: 'M', rows: 'R', text: 'T', lora: 'L', prefix: 'P' }
const lora = { key: 'smollm2/lora/short/fp32', case: 'lora', dtype: 'fp32', rows: 'short', threads: 1, steps: 2, seconds: 5, skip: 0, patience: 60, emulated: false }

/** A peer whose Python is a script of the shell. */
function peer(t: Parameters<typeof temporaryFolder>[0], script: string) {
  const python = path.join(temporaryFolder(t), 'python')
  fs.writeFileSync(python, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return { pythons: { trl: python }, tcmalloc: undefined }
}

test('a side is read line by line, between what its library prints', async (t) => {
  const { runSide } = await benchModule('sides.mjs')
  const tools = peer(t, `echo "{'loss': '5.0'}"; echo '{"step": 1, "tokens": 10, "seconds": 1, "loss": 5}'; echo '{"step": 2, "tokens": 10, "seconds": 1, "loss": NaN}'; echo '{"peakMiB": 100, "form": "fp32"}'`)
  const run = await runSide('trl:best', lora, files, tools)
  assert.deepEqual([run.steps.map(({ loss }: { loss: number }) => loss), run.peakMiB, run.form, run.firstStep > 0], [[5, NaN], 100, 'fp32', true])
})

test('a side that fails says with which words it was started and what it wrote', async (t) => {
  const { runSide } = await benchModule('sides.mjs')
  await assert.rejects(runSide('trl:best', lora, files, peer(t, 'echo no such thing >&2; exit 3')), { name: 'TrainingError', code: 'bench.side', message: /trl:best of smollm2\/lora\/short\/fp32 ended with exit code 3: no such thing; run it by hand: .*trl_train\.py M R/ })
  await assert.rejects(runSide('trl:best', lora, files, peer(t, 'exit 0')), { code: 'bench.side', message: /made no step/ })
})

test('a first step that takes too long ends the side', async (t) => {
  const { runSide } = await benchModule('sides.mjs')
  await assert.rejects(runSide('trl:best', { ...lora, patience: 0.5 }, files, peer(t, 'exec sleep 30')), { code: 'bench.patience', message: /no step within 0\.5 s/ })
})
