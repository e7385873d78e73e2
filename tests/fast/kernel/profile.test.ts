import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import { madeProfile } from '../../support/made-profile'
import { repoRoot } from '../../support/paths'
import { script } from '../../support/runs'
import { temporaryFolder } from '../../support/tiny'

/** A session of the kernel runs one cell, and tells what it publishes: it takes over the process's output, so that it has one of its own. */
const code = `
const { TypeScriptSession } = require(${JSON.stringify(path.join(repoRoot, 'kernel', 'dist', 'session', 'session.js'))})
const said = [], session = new TypeScriptSession({ publish: (type, content) => { said.push([type, ...Object.keys(content.data ?? {})]); return 0 } })
const message = { header: { msg_id: 'a', msg_type: 'execute_request', session: 's' }, metadata: {}, content: { code: process.argv[1], silent: false, store_history: true }, identity: null }
void session.execute(message).then(() => { require('fs').writeSync(1, JSON.stringify(said) + '\\n'); process.exit(0) })`

test('a profile draws itself as the last value of a cell, and by show() in the middle of it', async (t) => {
  const file = madeProfile({ layers: 2 }).save(path.join(temporaryFolder(t), 'profile.json'))
  const { exit } = script(t, code, `import { Profile } from 'fettle'\nconst profile = Profile.read(${JSON.stringify(file)})\nprofile.show()\nprofile`)
  assert.deepEqual(JSON.parse((await exit).out), [['execute_input'], ['display_data', 'text/html', 'text/plain'], ['execute_result', 'text/html', 'text/plain']])
})
