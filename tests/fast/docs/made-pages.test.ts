import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { catalog } from 'fettle/dist/inspect/catalog'
import { parseFlags } from 'fettle/dist/cli/flags'
import { runCommand } from 'fettle/dist/cli/run'
import { repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const kept = path.join(repoRoot, 'docs', 'published-models.md')

test('the page of published models is what the records and the memory model say now; if not: npm run docs', (t) => {
  const made = path.join(temporaryFolder(t), 'page.md')
  const { status, stderr } = spawnSync(process.execPath, [path.join(repoRoot, 'docs', 'published-models.mjs'), made], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  assert.equal(fs.readFileSync(made, 'utf8'), fs.readFileSync(kept, 'utf8'))
})

test('the tables of arguments are what the code says now; if not: npm run docs', (t) => {
  const made = path.join(temporaryFolder(t), 'page.md')
  const { status, stderr } = spawnSync(process.execPath, [path.join(repoRoot, 'docs', 'argument-tables.mjs'), made], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  assert.equal(fs.readFileSync(made, 'utf8'), fs.readFileSync(path.join(repoRoot, 'docs', 'command-line.md'), 'utf8'))
})

test('the plan for many GPUs is what the simulation says now; if not: npm run docs', (t) => {
  const made = path.join(temporaryFolder(t), 'page.md')
  const { status, stderr } = spawnSync(process.execPath, [path.join(repoRoot, 'docs', 'parallel-plan.mjs'), made], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  assert.equal(fs.readFileSync(made, 'utf8'), fs.readFileSync(path.join(repoRoot, 'docs', 'parallel.md'), 'utf8'))
})

test('each family has a command there, of flags that fettle run takes', () => {
  const commands = [...fs.readFileSync(kept, 'utf8').matchAll(/^npx fettle run ((?:.*\\\n)*.*)$/gm)].map(([, words]) => words.replaceAll('\\\n', ' ').split(/\s+/))
  assert.equal(commands.length, catalog().length)
  for (const words of commands) assert.deepEqual(parseFlags(words, runCommand.flags).positionals, [])
})
