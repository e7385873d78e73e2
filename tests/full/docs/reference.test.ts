import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

test('the reference is what the docstrings say now; if not: npm run docs', (t) => {
  const folder = temporaryFolder(t)
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(repoRoot, 'docs', 'reference.mjs'), folder], { encoding: 'utf8' })
  assert.deepEqual([status, stdout + stderr], [0, ''], 'typedoc has warnings')
  const kept = path.join(repoRoot, 'docs', 'reference')
  assert.deepEqual(fs.readdirSync(folder).sort(), fs.readdirSync(kept).sort())
  for (const name of fs.readdirSync(folder)) {
    const made = fs.readFileSync(path.join(folder, name), 'utf8')
    assert.equal(made, fs.readFileSync(path.join(kept, name), 'utf8'), name)
    assert.doesNotMatch(made, /(^|[\s(`"'])\/(home|work|tmp|root|usr)\//m, `${name} names a folder of a machine`)
  }
})
