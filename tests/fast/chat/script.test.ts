import * as assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { test } from 'node:test'
import { chatModel, temporaryFolder } from '../../support/chat'
import { repoRoot } from '../../support/paths'

test('a script that never closes its chat still ends, and leaves neither worker nor log', (t) => {
  const script = `require('fettle').chat(process.argv[1], { threads: 1, maxNewTokens: 4 }).then(async (c) => { const { base } = await c.ask('Hi'); console.log(typeof base) })`
  const temporary = temporaryFolder(t, 'fettle-tmp')
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script, chatModel(temporaryFolder(t))], { cwd: repoRoot, encoding: 'utf8', timeout: 60_000, env: { ...process.env, TMPDIR: temporary } })
  assert.deepEqual([status, stdout], [0, 'string\n'], stderr)
  assert.deepEqual(fs.readdirSync(temporary).filter((name) => name.startsWith('fettle-chat-')), [])
})
