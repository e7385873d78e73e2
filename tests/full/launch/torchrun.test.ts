import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { fettle, plainEnvironment, writeProbe } from '../../support/launch'
import { without } from '../../support/programs'
import { temporaryFolder } from '../../support/tiny'

test('the line of fettle job torchrun: two ranks, whose store the agent serves', { skip: without('torchrun') }, async (t) => {
  const folder = temporaryFolder(t), args = path.join(folder, 'sft.json')
  fs.writeFileSync(args, JSON.stringify({ output_dir: 'out' }))
  const { stdout } = await fettle(['job', 'torchrun', args, '--ranks-per-node', '2', '--program', `'${process.execPath}' '${writeProbe(folder)}'`])
  const text = execFileSync('sh', ['-c', stdout], { encoding: 'utf8', env: plainEnvironment(), stdio: ['ignore', 'pipe', 'ignore'], timeout: 120_000 })
  const found = text.trim().split('\n').map((line) => JSON.parse(line).rank).sort((a, b) => a.rank - b.rank)
  assert.deepEqual(found.map((each) => [each.rank, each.worldSize, each.localRank, each.source, each.storeServed, each.restartCount]), [[0, 2, 0, 'torchrun', true, 0], [1, 2, 1, 'torchrun', true, 0]])
})
